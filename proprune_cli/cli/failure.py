"""How a command ends when it cannot go on: a message on stderr, a JSON error document, an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

from proprune_cli.cli.output import StdoutError, emit_json, flush
from proprune_cli.errors import ExitCode, InputError, ProPruneError


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
        kind, code, what, where, remedy = "Interrupted", ExitCode.INTERRUPTED, "interrupted", "", ""
        text = "interrupted"
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


@contextmanager
def noticing_interrupts() -> Generator[list[int], None, None]:
    """Ctrl-C raises KeyboardInterrupt as ever, and is noted, so that it is known whatever becomes of it.

    Gives the signals received so far.
    """
    received: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.default_int_handler(number, frame)

    # Signals are the main thread's, and whoever ignores them, as nohup does, goes on ignoring them.
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield received
        return
    signal.signal(signal.SIGINT, on_signal)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
