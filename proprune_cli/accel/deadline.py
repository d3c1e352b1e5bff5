"""How long a run may take, and what is said when it takes longer. Nothing goes on after that."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from proprune_cli.errors import BoardError

UNLIMITED = float("inf")

LEAST_SECONDS = 20.0
"""That every run may take: a busy machine."""

SECONDS_PER_STEP, ITERATIONS_PER_SECOND = 0.05, 25_000.0
"""A fortieth of what the slowest executor, the interpreter, does on one core of a laptop."""

MACS_PER_SECOND = 20e6
"""A fiftieth of what ONNX Runtime does there."""


def run_seconds(steps: int, iterations: int) -> float:
    """Seconds in which a host must have emulated a program of that many steps and trips of the accumulate loop."""
    return LEAST_SECONDS + steps * SECONDS_PER_STEP + iterations / ITERATIONS_PER_SECOND


def model_seconds(macs: int) -> float:
    """Seconds in which a host must have run a model of that many multiply-accumulates."""
    return LEAST_SECONDS + macs / MACS_PER_SECOND


def out_of_time(seconds: float, who: str, done: str = "") -> BoardError:
    """The error for a run that was stopped; the caller raises it."""
    return BoardError(
        f"{who} was stopped after {seconds:g} s" + (f", with {done} done" if done else ""),
        where="time limit",
        remedy="the limit is many times what the program's work takes: see whether the machine has other work, and "
        "compile the network again if it has not",
    )


class Deadline:
    """A moment after which a run is stopped by whoever looks."""

    def __init__(self, seconds: float = UNLIMITED) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self, who: str) -> None:
        """Let ``who`` go on.

        Raises:
            BoardError: the time is over.
        """
        if time.monotonic() >= self._end:
            raise out_of_time(self.seconds, who)


def run_session(
    session: Any, names: Sequence[str] | None, feeds: Mapping[str, Any], who: str, seconds: float = LEAST_SECONDS
) -> list[Any]:
    """``session.run`` of ONNX Runtime, stopped after ``seconds``.

    Raises:
        BoardError: the time is over. Also whatever ONNX Runtime raises.
    """
    import onnxruntime as ort

    options: Any = ort.RunOptions()
    late = threading.Event()

    def stop() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        return list(session.run(names, dict(feeds), options))
    except Exception:
        if late.is_set():
            raise out_of_time(seconds, who) from None
        raise
    finally:
        timer.cancel()
