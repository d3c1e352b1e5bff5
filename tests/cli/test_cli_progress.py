"""Progress in a pipe: whole lines, one for each stage and epoch, as they happen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proprune_cli.train.progress import LineProgress

PRUNE = ("prune", "--model", "resnet8?width=0.5", "--data", "digits", "--epochs", "2", "--finetune-epochs", "1",
         "--multiple", "4", "--threads", "1")  # fmt: skip


def proprune(*arguments: object, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proprune_cli.cli.app", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload, no-any-return]


def test_a_pipe_gets_a_line_for_each_epoch_and_stage_as_it_happens(cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = proprune(*PRUNE, "--json", "--out", out, stderr=subprocess.PIPE)
    assert process.stderr is not None and process.stdout is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if "dense training: epoch 1 of 2" in line:
            # It came when the epoch was over and not when the command was.
            assert process.poll() is None and not (out / "stages/dense").exists()
    assert process.wait() == 0
    assert json.loads(process.stdout.read())["schema"] == "proprune.prune/1"
    text = "".join(lines)
    assert "\r" not in text and "\x1b" not in text
    number = r"[\d.]+"
    epochs = [
        (label, i, n)
        for label, n in (("dense training", 2), ("fine-tuning", 1), ("thin network", 3))
        for i in range(1, n + 1)
    ]
    told = re.findall(rf"^(.*): epoch (\d+) of (\d+): loss {number}, validation {number} %$", text, re.M)
    assert [(label, int(i), int(n)) for label, i, n in told] == epochs
    for label in ("dense training", "fine-tuning", "thin network"):
        assert lines.count(f"{label} …\n") == 1
        assert len(re.findall(rf"^{label}: test accuracy {number} %$", text, re.M)) == 1
    assert re.search(r"^pruned to [\d.]+% of the operations$", text, re.M)

    told = cli(*PRUNE, "--json", "--out", out).err.splitlines()
    assert [line.partition(": ")[2].partition(",")[0] for line in told] == ["done before"] * 3


@pytest.mark.parametrize("gone", ["closed", "full"])
def test_nobody_need_read_it(gone: str, tiny, tmp_path: Path) -> None:
    command = ("compile", tiny.model, "--calibration", tiny.images, "-o", tmp_path / "net.ppr")
    if gone == "full":
        with Path("/dev/full").open("w") as full:
            process = proprune(*command, stderr=full)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        process = proprune(*command, stderr=writer)
        os.close(writer)
    assert "needs" in process.communicate()[0]
    assert process.returncode == 0


def test_compile_and_run_name_their_stages_in_a_pipe(cli, tiny, tmp_path: Path) -> None:
    net = tmp_path / "net.ppr"
    process = proprune("compile", tiny.model, "--calibration", tiny.images, "-o", net, "--json", stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert json.loads(out)["artifact"] == str(net)
    stages = ("reading calibration images", "import", "quantise", "schedule", "verify")
    assert err == "".join(f"{stage} …\n" for stage in stages)
    done = cli("run", net, "-i", tiny.images, "-o", tmp_path / "y.npy", "--board", "interpreter", "--json")
    assert done.err == "6 images …\n" and done.document["images"] == 6


def test_a_dumb_terminal_gets_lines_too(cli, tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    done = cli("compile", tiny.model, "--calibration", tiny.images, "-o", tmp_path / "net.ppr")
    assert done.err.startswith("reading calibration images …\nimport …\n") and "\r" not in done.err
    monkeypatch.setenv("TERM", "xterm")
    done = cli("compile", tiny.model, "--calibration", tiny.images, "-o", tmp_path / "net.ppr")
    assert done.err.endswith("\r\x1b[K") and "\n" not in done.err


def test_a_long_task_says_once_a_minute_that_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines = LineProgress()
    lines.start("training", 1000, 200)
    for _ in range(150):
        now += 1.0
        lines.advance()
    lines.advance(0, "epoch 1")
    lines.advance(0, "epoch 1")
    lines.finish()
    assert capsys.readouterr().err.splitlines() == [
        "training, resumed at 20% …",
        "training: 261 of 1000",
        "training: 322 of 1000",
        "training: epoch 1",
    ]
