"""An exploration as one HTML page that needs nothing else: no script, no network, every picture inside it.

A network is shown by its link alone (CSS ``:target``), so that the page works wherever it is copied to, and a link to
one of its networks can be sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from proprune_cli.flow.explored import UNITS, Explored, Front
from proprune_cli.flow.front import Mark

_WIDTH, _HEIGHT = 520, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44
_WORDS = {"latency_ms": "latency", "energy_mj": "energy"}
_SAME = 1 + 1e-6
"""A ratio up to which values are shown as one."""
_BOUNDS = {"compute": "#4c78a8", "memory": "#e45756", "overhead": "#bab0ac"}
"""What most of a layer's time goes to, and its colour."""

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1120px;padding:0 1rem;color:#1c1c1c;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem}
.charts{display:flex;flex-wrap:wrap;gap:1rem}svg{max-width:100%;height:auto}svg text{font-size:12px;fill:#444}
.axis{stroke:#888;fill:none}.grid{stroke:#e6e6e6}.line{stroke:#4c78a8;stroke-width:2;fill:none}
.curve{stroke:#f58518;stroke-width:1.5;stroke-dasharray:5 4;fill:none}
circle.front{fill:#4c78a8}circle.dominated{fill:#4c78a8;opacity:.25}circle.thin{fill:#f58518;opacity:.85}
.knee{fill:none;stroke:#e45756;stroke-width:2.5}a:hover .mark,a:focus .mark{stroke:#000;stroke-width:2}
table{border-collapse:collapse}td,th{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #e6e6e6}
td:first-child,th:first-child,.text{text-align:left}tr.dominated td,tr.dominated a{color:#888}
.network{display:none;border:1px solid #ccc;border-radius:6px;padding:0 1rem 1rem;margin-top:1rem}
.network:target{display:block}pre{background:#f4f4f4;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere}
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}.small{color:#555;font-size:.88rem}
.scroll{overflow-x:auto}
"""
_KEY = (
    '<p class="small key"><span style="background:#4c78a8"></span>dense and pruned networks'
    '<span style="background:#f58518"></span>thin networks<span style="border:2px solid #e45756;border-radius:50%">'
    "</span>knee</p>"
)


def page(explored: Explored) -> str:
    """Text of the page."""
    document = explored.document
    ids = {network["name"]: f"n{number}" for number, network in enumerate(document["networks"])}
    targets = list(dict.fromkeys(front.target for front in explored.fronts))
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>proprune explore</title>',
        # Whatever a name in the data may hold, a browser fetches and runs nothing.
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Accuracy against predicted latency and energy: {escape(document['directory'])}</h1>",
        "<p>Latency and energy are <strong>predicted</strong> for each compiled network by "
        f"{escape('; '.join(document['models']))}; no board was measured. Accuracy is that of the test images"
        + ("" if document["metric"] == "accuracy" else f": 100 times the mean of {escape(document['metric'])}")
        + ". A faint point is dominated: another is as accurate and as cheap, and better in one. The ring is the knee, "
        "the point farthest above the chord of the front in logarithmic cost (Satopää et al. 2011). "
        "<strong>Click a point</strong> to see its layers and the command that makes it.</p>",
    ]
    for target in targets:
        fronts = [front for front in explored.fronts if front.target == target]
        parts.append(f"<h2>{escape(target.board)}, array {escape(target.array)}</h2>")
        parts.append(f'<div class="charts">{"".join(_chart(f, ids, document["metric"]) for f in fronts)}</div>')
        parts.append(_KEY)
        parts.append(_table(document["networks"], fronts, ids))
        if beaten := sorted({mark.name for front in fronts for mark in front.beaten}):
            parts.append(f"<p>Thin networks dominate {escape(', '.join(beaten))}.</p>")
    parts += [_network(network, ids[network["name"]]) for network in document["networks"]]
    parts += [_failures(document["failed"]), _cost(document["cost"]), "</body></html>"]
    return "\n".join(part for part in parts if part) + "\n"


def _chart(front: Front, ids: dict[str, str], metric: str) -> str:
    marks = [*front.line, *front.dominated, *front.thin]
    if not marks:
        return ""
    x_axis, y_axis = _LogAxis([m.cost for m in marks]), _LinearAxis([m.accuracy for m in marks])
    unit = UNITS[front.cost]
    what = "test accuracy, %" if metric == "accuracy" else f"test {metric}, × 100"
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    out = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="{escape(what)} against predicted {_WORDS[front.cost]}">'
    ]
    for value in x_axis.ticks:
        x = x_axis.at(value)
        out.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
    for value in y_axis.ticks:
        y = y_axis.at(value)
        out.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    out.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    middle = (_LEFT + right) / 2
    out.append(
        f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">predicted {_WORDS[front.cost]}, {unit} per image '
        "(logarithmic)</text>"
    )
    out.append(f'<text transform="translate(13 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(what)}</text>')

    def place(mark: Mark) -> tuple[float, float]:
        return x_axis.at(mark.cost), y_axis.at(mark.accuracy)

    for kind, line in (("line", front.line), ("curve", front.thin)):
        if len(line) > 1:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, line))
            out.append(f'<polyline class="{kind}" points="{joined}"/>')
    if front.knee is not None:
        x, y = place(front.knee)
        out.append(f'<circle class="knee" cx="{x:.1f}" cy="{y:.1f}" r="11"><title>knee</title></circle>')
    for kind, some in (("dominated", front.dominated), ("thin", front.thin), ("front", front.line)):
        for mark in some:
            x, y = place(mark)
            title = f"{mark.name}: {mark.accuracy:.2f} %, {mark.cost:.4g} {unit}"
            out.append(
                f'<a href="#{ids[mark.name]}"><circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="6">'
                f"<title>{escape(title)}</title></circle></a>"
            )
    return "".join([*out, "</svg>"])


class _LogAxis:
    """From costs to pixels, left to right, by logarithms."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values), max(values)
        pad = (high / low) ** 0.06 if high / low > _SAME else 1.5
        self._low, self._width = math.log(low / pad), math.log(high / low * pad * pad)
        digits = range(math.floor(math.log10(low / pad)), math.ceil(math.log10(high * pad)) + 1)
        known = [base * 10.0**digit for digit in digits for base in (1, 2, 5)]
        inside = [float(f"{v:.3g}") for v in known if low / pad <= v <= high * pad]
        self.ticks = inside if len(inside) > 1 else [float(f"{v:.3g}") for v in dict.fromkeys((low, high))]

    def at(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log(value) - self._low) / self._width


class _LinearAxis:
    """From accuracies to pixels, upwards."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values), max(values)
        pad = 0.08 * (high - low) if high - low > _SAME - 1 else 1.0
        self._low, self._height = low - pad, high - low + 2 * pad
        rough = self._height / 5
        step = 10.0 ** math.floor(math.log10(rough))
        step *= next(f for f in (1, 2, 5, 10) if f * step >= rough)
        first = math.ceil(self._low / step)
        self.ticks = [float(f"{n * step:.6g}") for n in range(first, math.floor((self._low + self._height) / step) + 1)]

    def at(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - self._low) / self._height


def _table(networks: Sequence[dict[str, Any]], fronts: Sequence[Front], ids: dict[str, str]) -> str:
    costs = {f.cost: {m.name: m.cost for m in (*f.line, *f.dominated, *f.thin)} for f in fronts}
    by_latency = costs["latency_ms"]
    rows: list[str] = []
    for network in sorted((n for n in networks if n["name"] in by_latency), key=lambda n: by_latency[n["name"]]):
        name, int8 = network["name"], network["int8"]
        on = [_WORDS[f.cost] for f in fronts if any(m.name == name for m in f.line)]
        knees = [_WORDS[f.cost] for f in fronts if f.knee is not None and f.knee.name == name]
        said = ", ".join(f"{word} (knee)" if word in knees else word for word in on)
        kind = "thin" if network["kind"] == "thin" else "front" if on else "dominated"
        rows.append(
            f'<tr class="{kind}"><td><a href="#{ids[name]}">{escape(name)}</a></td>'
            + _cells(
                f"{network['accuracy']:.2f} %",
                "–" if int8 is None else f"{int8['accuracy']:.2f} %",
                *(f"{cost[name]:.3f}" if name in cost else "–" for cost in costs.values()),
                said or kind,
            )
            + "</tr>"
        )
    head = "".join(f"<th>{h}</th>" for h in ("network", "accuracy", "int8", "ms/image", "mJ/image", "on the front of"))
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _cells(*values: object) -> str:
    return "".join(f"<td>{escape(str(value))}</td>" for value in values)


def _network(network: dict[str, Any], number: str) -> str:
    int8 = network["int8"]
    accuracy = f"{network['accuracy']:.2f} % of the test images, {network['validation_accuracy']:.2f} % of validation"
    if int8 is not None:
        accuracy += f"; {int8['accuracy']:.2f} % of {int8['images']} test images in int8"
    parts = [f'<section class="network" id="{number}"><h2>{escape(network["name"])}</h2><p>{accuracy}</p>']
    if network["missed"]:
        parts.append(f"<p><strong>Over its budget:</strong> {escape(network['missed'])}</p>")
    if network["command"]:
        beside = " (the thin network stands beside the pruned one)" if network["kind"] == "thin" else ""
        parts.append(f"<p>The command that makes it{beside}:</p><pre>{escape(network['command'])}</pre>")
    else:
        parts.append("<p>The dense network, which all points start from.</p>")
    for board in network["boards"]:
        parts.append(_timeline(board))
    if network["trainings"]:
        rows = "".join(
            f"<tr><td>{escape(t['stage'])}</td>"
            + _cells(t["epochs"], f"{t['cpu_seconds']:.1f}", _joules(t["estimated_joules"]))
            + "</tr>"
            for t in network["trainings"]
        )
        parts.append(
            "<h3>What its trainings cost</h3><table><tr><th>training</th><th>epochs</th><th>CPU seconds</th>"
            f"<th>J, estimated</th></tr>{rows}</table>"
        )
    parts += [f'<p class="small">{escape(text)}</p>' for text in network["notes"]]
    return "".join([*parts, "</section>"])


def _timeline(board: dict[str, Any]) -> str:
    """The layers of one image, one after the other, as long as each takes."""
    layers, total = board["layers"], sum(layer["latency_ms"] for layer in board["layers"])
    energy = "" if board["energy_mj"] is None else f", {board['energy_mj']:.4g} mJ"
    title = f"{board['board']}, {board['array']}: {board['latency_ms']:.4g} ms{energy}, predicted"
    if not layers or total <= 0:
        return f"<h3>{escape(title)}</h3>"
    width, at = 1040.0, 0.0
    bars: list[str] = []
    for layer in layers:
        wide = width * layer["latency_ms"] / total
        said = f"{_called(layer)}: {layer['latency_ms']:.4g} ms, {layer['cycles']:,} cycles, bound by {layer['bound']}"
        label = escape(str(layer["name"])[: max(0, int(wide / 8))]) if wide > 36 else ""
        bars.append(
            f'<g class="layer"><rect x="{at:.2f}" y="2" width="{max(wide, 0.4):.2f}" height="34" '
            f'fill="{_BOUNDS.get(layer["bound"], "#72b7b2")}" stroke="#fff" stroke-width="1">'
            f"<title>{escape(said)}</title></rect>"
            + (f'<text x="{at + 4:.2f}" y="23" style="fill:#fff">{label}</text>' if label else "")
            + "</g>"
        )
        at += wide
    ticks = "".join(
        f'<text x="{width * part / 4:.1f}" y="52" text-anchor="{("start", "middle", "middle", "middle", "end")[part]}">'
        f"{total * part / 4:.3g} ms</text>"
        for part in range(5)
    )
    rows = "".join(
        f'<tr><td>{escape(_called(layer))}</td><td class="text">{escape(layer["bound"])}</td>'
        + _cells(f"{layer['latency_ms']:.4f}", f"{layer['cycles']:,}", f"{layer['macs']:,}", f"{layer['ddr_bytes']:,}")
        + "</tr>"
        for layer in layers
    )
    key = "".join(f'<span style="background:{colour}"></span>{bound}' for bound, colour in _BOUNDS.items())
    return (
        f'<h3>{escape(title)}</h3><svg class="timeline" viewBox="0 0 {width:g} 58" width="{width:g}" role="img" '
        f'aria-label="layers over time">{"".join(bars)}{ticks}</svg><p class="small key">bound by{key}</p>'
        '<details><summary>Every layer</summary><div class="scroll"><table><tr><th>layer</th><th class="text">bound'
        f"</th><th>ms</th><th>cycles</th><th>MACs</th><th>DDR bytes</th></tr>{rows}</table></div></details>"
    )


def _called(layer: dict[str, Any]) -> str:
    return f"{layer['name']} ({layer['module']})" if layer["module"] else str(layer["name"])


def _failures(failed: Iterable[dict[str, Any]]) -> str:
    rows = "".join(
        f"<li><strong>{escape(f['name'])}</strong>: {escape(f['what'])}<pre>{escape(f['command'])}</pre></li>"
        for f in failed
    )
    return f"<h2>Points that could not be made</h2><ul>{rows}</ul>" if rows else ""


def _cost(cost: dict[str, Any]) -> str:
    return (
        f"<h2>What the search cost</h2><p>{cost['trainings']} trainings took {cost['cpu_seconds']:.1f} CPU seconds, "
        f"{cost['shared_cpu_seconds']:.1f} of them the dense one, which counts once. Energy, estimated and not "
        f"measured: {_joules(cost['estimated_joules'])} J at {cost['watts_per_core']:g} W for each busy core.</p>"
        f'<p class="small">{escape(cost["watts_source"])}</p>'
    )


def _joules(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
