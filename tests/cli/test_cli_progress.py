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
         "--multiple", "4", "--no-engine", "--threads", "1")  # fmt: skip


def proprune(*arguments: object, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proprune_cli.cli.app", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload, no-any-return]


def epochs(text: str) -> list[tuple[str, int, int]]:
    """(task, epoch, of how many) as the lines of ``text`` tell them."""
    told = re.findall(r"^(.*): epoch (\d+) of (\d+): loss [\d.]+, validation [\d.]+ %$", text, re.M)
    return [(task, int(number), int(total)) for task, number, total in told]


def test_a_pipe_gets_a_line_for_each_epoch_and_stage_as_it_happens(cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    lines: list[str] = []
    with proprune(*PRUNE, "--json", "--out", out, stderr=subprocess.PIPE) as process:
        for line in process.stderr or ():
            if not line.startswith("note: "):  # of the machine
                lines.append(line)
            if "epoch 1 of 2" in line:
                # It came when the epoch was over, and not when the command was or a buffer was full.
                assert process.poll() is None and not (out / "stages/dense").exists()
            if "test accuracy" in line:
                break
        assert process.poll() is None and not (out / "results.json").exists()
        process.kill()
    assert epochs("".join(lines)) == [("dense training", 1, 2), ("dense training", 2, 2)]
    assert lines[0] == "dense training …\n" and len(lines) == 4
    assert not any("\r" in line or "\x1b" in line for line in lines)

    done = cli(*PRUNE, "--json", "--out", out)
    told = [line for line in done.err.splitlines() if not line.startswith("note: ")]
    assert done.document["schema"] == "proprune.prune/1"
    assert told[0] == lines[-1].strip().replace("test accuracy", "done before, test accuracy")
    assert epochs(done.err) == [("fine-tuning", 1, 1), *(("thin network", i, 3) for i in (1, 2, 3))]
    for task in ("fine-tuning", "thin network"):
        assert told.count(f"{task} …") == 1
        assert sum(line.startswith(f"{task}: test accuracy ") for line in told) == 1
    assert sum(re.fullmatch(r"pruned to [\d.]+% of the operations", line) is not None for line in told) == 1


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
