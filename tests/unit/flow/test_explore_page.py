"""The page of an exploration: parsed, followed, and shown by a real browser where one is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.flow.explore_page import page
from proprune_cli.flow.explore_point import RECORD_VERSION, Point, Target, record_of_point, sealed
from proprune_cli.flow.explored import Explored, collect
from proprune_cli.flow.front import Mark, front

TARGET = Target("pynq-z2", "z7020-256")
BROWSER = os.environ.get("PROPRUNE_BROWSER") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), ""
)
NASTY = '<script src="https://example.org/x.js"></script><img src=x onerror=alert(1)>"\'&'


def _layer(name: str, ms: float, bound: str) -> dict[str, Any]:
    return {"name": name, "module": "net.0", "latency_ms": ms, "cycles": 100, "bound": bound, "macs": 5, "ddr_bytes": 7}


def _board(ms: float, mj: float) -> dict[str, Any]:
    layers = [_layer(NASTY, ms / 4, "memory"), _layer("conv2", ms / 4, "compute"), _layer("fc", ms / 2, "overhead")]
    figures = {"latency_ms": ms, "energy_mj": mj, "model": "loop model"}
    return {"board": TARGET.board, "array": TARGET.array, **figures, "layers": layers}


def explored_of(folder: Path, rows: list[tuple[float, float, float]], *, thin: bool = True) -> Explored:
    """An exploration of records with (accuracy, ms, mJ), the dense network first."""
    (folder / "points").mkdir(parents=True, exist_ok=True)

    def figures(accuracy: float, ms: float, mj: float) -> dict[str, Any]:
        found = {"accuracy": accuracy, "validation_accuracy": accuracy, "params": 10, "int8": None}
        return {**found, "boards": [_board(ms, mj)]}

    def write(name: str, networks: dict[str, Any], failed: Any = None) -> None:
        cost = {"epochs": 1, "cpu_seconds": 2.0, "wall_seconds": 2.0, "device": "cpu", "estimated_joules": 24.0}
        record = {"version": RECORD_VERSION, "kind": "explored-point", "key": "", "name": name, "failed": failed}
        record |= {"command": f"proprune prune {NASTY}", "missed": None, "notes": [NASTY], "networks": networks}
        record |= {"metric": "accuracy", "trainings": [{"stage": "dense", **cost}, {"stage": "finetune", **cost}]}
        (folder / "points" / f"{name}.json").write_bytes(sealed(record))

    write("dense", {"dense": figures(*rows[0])})
    points = [Point("l1", f"ops=0.{n}") for n in range(1, len(rows))]
    for point, row in zip(points, rows[1:], strict=True):
        also = {"thin": figures(row[0] - 1, row[1], row[2])} if thin else {}
        write(point.name, {"pruned": figures(*row), **also})
    failed = Point("l1", "ms=1e-09", "pynq-z2", "z7020-256")
    write(failed.name, {}, {"kind": "BudgetError", "what": NASTY, "where": "", "remedy": ""})
    return collect(folder, [*points, failed], [TARGET])


class _Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


ROWS = [(95.0, 4.0, 8.0), (94.0, 2.0, 4.0), (90.0, 1.5, 3.5), (70.0, 1.0, 3.0), (60.0, 1.2, 3.2)]


def test_the_page_refers_to_nothing_outside_and_runs_nothing(tmp_path: Path) -> None:
    text = page(explored_of(tmp_path, ROWS))
    parsed = _Parsed(text)
    assert not parsed.open
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in parsed.tags:
        assert tag not in ("script", "img", "link", "iframe", "object", "embed", "base", "form", "image", "use")
        assert not any(name.startswith("on") or name in ("src", "srcset", "xlink:href") for name in attributes)
        if "href" in attributes:
            assert attributes["href"].startswith("#") and attributes["href"][1:] in ids
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1 and "url(" not in style[0] and "@import" not in style[0]
    assert "default-src 'none'" in text


def test_every_network_has_a_point_in_both_charts_and_a_section_with_its_layers(tmp_path: Path) -> None:
    explored = explored_of(tmp_path, ROWS)
    parsed = _Parsed(page(explored))
    count = len(explored.document["networks"])
    assert count == 1 + 2 * (len(ROWS) - 1)
    marks = [a["class"] for tag, a in parsed.tags if tag == "circle" and "mark" in a["class"]]
    assert len(marks) == 2 * count and marks.count("mark thin") == 2 * (len(ROWS) - 1)
    assert marks.count("mark dominated") == 2  # (60 %, 1.2 ms) is no better than (70 %, 1 ms)
    assert len([a for tag, a in parsed.tags if tag == "section"]) == count
    assert len([a for tag, a in parsed.tags if tag == "svg" and a.get("class") == "timeline"]) == count
    assert len([a for tag, a in parsed.tags if tag == "g" and a.get("class") == "layer"]) == 3 * count


def test_a_record_that_was_changed_is_none(tmp_path: Path) -> None:
    explored_of(tmp_path, ROWS)
    file = tmp_path / "points/l1-ops-0.1.json"
    content = file.read_bytes()
    assert record_of_point(tmp_path, "l1-ops-0.1") is not None
    assert record_of_point(tmp_path, "l1-ops-0.1", key="another") is None
    changed = json.loads(content)
    del changed["networks"]["pruned"]["accuracy"]
    for damaged in (content[:-20], content.replace(b"94.0", b"99.0"), json.dumps(changed).encode(), b"[]"):
        file.write_bytes(damaged)
        assert record_of_point(tmp_path, "l1-ops-0.1") is None
    file.unlink()
    assert record_of_point(tmp_path, "l1-ops-0.1") is None


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.floats(0, 100), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=6))
def test_points_lie_inside_the_chart_in_the_order_of_their_figures(
    rows: list[tuple[float, float, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    explored = explored_of(tmp_path_factory.mktemp("page"), rows, thin=False)
    chart = re.findall(r"<svg viewBox.*?</svg>", page(explored))[0]
    circles = re.findall(r'class="mark \w+" cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>([^:]*):', chart)
    assert len(circles) == len(rows)
    by_name = {name: (float(x), float(y)) for x, y, name in circles}
    names = ["dense", *(Point("l1", f"ops=0.{n}").name for n in range(1, len(rows)))]
    for name, (accuracy, ms, _) in zip(names, rows, strict=True):
        x, y = by_name[name]
        assert 52 <= x <= 506 and 14 <= y <= 296
        for other, (accuracy2, ms2, _) in zip(names, rows, strict=True):
            if ms < ms2:
                assert x <= by_name[other][0]
            if accuracy < accuracy2:
                assert y >= by_name[other][1]
    line = front([Mark(n, a, ms) for n, (a, ms, _) in zip(names, rows, strict=True)])
    assert chart.count('class="mark front"') == len(line)


@pytest.mark.skipif(not BROWSER, reason="no Chromium here; name one with PROPRUNE_BROWSER")
def test_a_browser_shows_what_is_clicked_and_nothing_else(tmp_path: Path) -> None:
    text = page(explored_of(tmp_path / "out", ROWS))
    probe = """<script>
      const shown = () => [...document.querySelectorAll('section.network')]
        .filter(s => getComputedStyle(s).display !== 'none').map(s => s.id);
      const seen = [shown()], links = [...document.querySelectorAll('svg a')].slice(0, 3);
      const next = () => {
        if (links.length) {
          const a = links.shift();
          a.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
          setTimeout(() => { seen.push([a.getAttribute('href').slice(1), ...shown()]); next(); }, 50);
          return;
        }
        const bars = [...document.querySelectorAll('section.network:target .timeline rect')]
          .map(r => r.getBoundingClientRect().width);
        const wide = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
        const answer = {seen, bars, wide, asked: performance.getEntriesByType('resource').length};
        document.body.setAttribute('data-answer', JSON.stringify(answer));
      };
      next();
    </script>"""
    # The page lets no script run: that of this test needs a copy that does.
    copy = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", probe + "</body>")
    dom = _dumped(copy, tmp_path / "probed.html")
    answer = json.loads(_body(dom)["data-answer"])
    assert answer["seen"][0] == []
    assert all(len(one) == 2 and one[0] == one[1] for one in answer["seen"][1:])
    assert answer["bars"] and answer["bars"][2] == pytest.approx(2 * answer["bars"][0], rel=0.02)
    assert answer["wide"] and answer["asked"] == 0
    # The page itself refuses the very same script.
    refused = _dumped(text.replace("</body>", probe + "</body>"), tmp_path / "page.html")
    assert "data-answer" not in _body(refused)


def _dumped(text: str, file: Path) -> str:
    file.write_text(text)
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={file.parent / 'profile'}"]
    done = subprocess.run(
        [*command, "--window-size=1280,900", "--virtual-time-budget=3000", "--dump-dom", file.as_uri()],
        check=True, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    return done.stdout


def _body(dom: str) -> dict[str, str]:
    return next(attributes for tag, attributes in _Parsed(dom).tags if tag == "body")
