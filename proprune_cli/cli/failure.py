"""How a command ends when it cannot go on: a message on stderr, a JSON error document, an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

from proprune_cli.cli.output import StdoutError, emit_json, flush
from proprune_cli.errors import ExitCode, InputError, ProPruneError


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    Args:
        number: of the signal. resume: the command that goes on from there; empty where none does.
    """

    def __init__(self, number: int = signal.SIGINT, resume: str = "") -> None:
        super().__init__()
        self.number = number
        self.resume = resume


_STOPS = {
    signal.SIGINT: (ExitCode.INTERRUPTED, "Interrupted", "interrupted"),
    signal.SIGTERM: (ExitCode.TERMINATED, "Terminated", "terminated"),
}


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Tell the user about ``error``; the exit code of the process.

    Args:
        as_json: also print a JSON error document on stdout.
        debug: print the traceback too.
    """
    if isinstance(error, ProPruneError):
        kind, code, what, where, remedy = type(error).__name__, error.exit_code, error.what, error.where, error.remedy
        text = str(error)
    elif isinstance(error, KeyboardInterrupt):
        stopped = error if isinstance(error, Stopped) else Stopped()
        code, kind, what = _STOPS[signal.Signals(stopped.number)]
        where, remedy = "", f"resume with `{stopped.resume}`" if stopped.resume else ""
        text = f"{what}: {remedy}" if remedy else what
    elif (message := _usage(error)) is not None:
        kind, code, what, where, remedy = "UsageError", ExitCode.USAGE, *message
        text = f"error: {what}\nhint: {remedy}"
    elif isinstance(error, MemoryError):
        kind, code, what, where = "OutOfMemory", ExitCode.USER, "out of memory", ""
        remedy = "use a smaller model, input or batch, or a machine with more memory"
        text = f"error: {what}\nhint: {remedy}"
    else:
        kind, code, where = "Bug", ExitCode.BUG, ""
        what = f"this is a bug in proprune: {type(error).__name__}: {error}"
        remedy = "run it again as `proprune --debug …` and report what it prints"
        text = f"error: {what}\nhint: {remedy}"
    if isinstance(error, StdoutError):
        silence_stdout()
    if debug:
        traceback.print_exception(error)
    with suppress(OSError):  # where nobody can be told, the exit code still says it
        print(text, file=sys.stderr, flush=True)
    if as_json:
        found = {"kind": kind, "exit_code": int(code), "what": what, "where": where, "remedy": remedy}
        try:
            emit_json("error", {"error": found})
            flush()
        except (InputError, BrokenPipeError):
            # The first error is the one to tell, and its exit code the one to give.
            silence_stdout()
    return int(code)


class Stops:
    """SIGINT and SIGTERM as long as the block lasts: they raise `Stopped` wherever the process is, so that it leaves
    nothing half done, and are noted, so that it is known whatever a library makes of the exception.

    Attributes:
        received: the signals so far.
    """

    _USUAL = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))

    def __init__(self) -> None:
        self.received: list[int] = []
        self._ours: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Stops:
        # Signals are the main thread's, and whoever ignores them, as nohup does, goes on ignoring them.
        if threading.current_thread() is threading.main_thread():
            self._ours = [(number, usual) for number, usual in self._USUAL if signal.getsignal(number) is usual]
        for number, _ in self._ours:
            signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, usual in self._ours:
            signal.signal(number, usual)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self.received.append(number)
        raise Stopped(number)

    def ignore(self) -> None:
        """Let no second signal cut short what is told of the first: `timeout` sends two."""
        for number, _ in self._ours:
            signal.signal(number, signal.SIG_IGN)


def silence_stdout() -> None:
    """After the reader of a pipe has gone: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: BaseException) -> tuple[str, str, str] | None:
    """(what, where, remedy) of the option parser's own errors, whatever library version raised them."""
    render = getattr(error, "format_message", None)
    if render is None or getattr(error, "exit_code", None) != int(ExitCode.USAGE):
        return None
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", None) or "proprune"
    what = str(render()).strip().rstrip(".")
    return what[:1].lower() + what[1:], str(path), f"see `{path} --help`"
