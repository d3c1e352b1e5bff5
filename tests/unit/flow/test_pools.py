"""Processes that work: their results, and their end where whoever started them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proprune_cli.errors import BudgetError, InputError
from proprune_cli.flow.pools import done, pool


def _half(number: int) -> int:
    if number % 2:
        raise BudgetError(f"{number} is odd")
    return number // 2


def _killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_with_their_names_and_errors_as_they_are() -> None:
    with pool(2, None) as workers:
        assert dict(done(workers, ((f"n{n}", (n,)) for n in (0, 2, 4)), _half, "halves")) == {"n0": 0, "n2": 1, "n4": 2}
        with pytest.raises(BudgetError, match="3 is odd"):
            list(done(workers, [("n3", (3,))], _half, "halves"))
        with pytest.raises(InputError, match="halves was killed"):
            list(done(workers, [("n3", (3,))], _killed, "halves"))


def at_work(file: str) -> None:
    """Say who works, and go on for long."""
    Path(file).write_text(str(os.getpid()))
    time.sleep(300)


def test_a_process_whose_parent_was_killed_ends(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "from tests.unit.flow.test_pools import at_work\nfrom proprune_cli.flow.pools import pool\n"
        f"if __name__ == '__main__':\n with pool(1, None) as p: p.submit(at_work, {str(file)!r}).result()\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": paths})
    _wait_for(lambda: file.is_file() and file.read_text() != "")
    child = int(file.read_text())
    assert _lives(child)
    parent.kill()
    parent.wait()
    _wait_for(lambda: not _lives(child))


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for(true: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)
