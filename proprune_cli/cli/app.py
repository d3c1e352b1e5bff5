"""The console script ``proprune``: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from proprune_cli.cli import (
    bench,
    boards,
    compile,  # noqa: A004
    completion,
    dataset,
    demo,
    deploy,
    explore,
    inspect,
    prune,
    run,
    sensitivity,
)
from proprune_cli.cli.failure import Stopped, Stops, report, silence_stdout
from proprune_cli.cli.output import flush, say, stdout_error
from proprune_cli.errors import ExitCode, ProPruneError

app = typer.Typer(
    name="proprune",
    # Plain help: reads the same with and without colour, and does not wait for the rich library.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # typer's own names no shell, and its bash script takes emulated:pynq-z2 for three words
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for module in (prune, sensitivity, compile, inspect, run, deploy, bench, boards, dataset, explore, demo):
    app.command(module.__name__.rpartition(".")[2])(module.command)
RESUMABLE = ("prune", "explore", "demo")
"""Commands that go on where they were stopped when they are given again."""


@dataclass
class Invocation:
    """Which command the option parser found; None before it has found any."""

    command: str | None = None


def _version(show: bool) -> None:
    if show:
        from proprune_cli.artifact.version import tool_version

        say(f"proprune {tool_version()}")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        say(completion.script(shell).rstrip())
        raise typer.Exit


def _install_completion(shell: str | None) -> None:
    if shell is not None:
        say(f"{completion.install(shell)}: completion for {shell}, from its next start on")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[  # noqa: ARG001 - `run_cli` looks for it before anything is parsed
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", "-V", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    show_completion: Annotated[  # noqa: ARG001 - as above
        str | None,
        typer.Option(
            metavar="SHELL",
            help="Print what makes bash, zsh, fish or powershell complete commands, options and names.",
            callback=_show_completion,
            is_eager=True,
            autocompletion=completion.offer("shells"),
        ),
    ] = None,
    install_completion: Annotated[  # noqa: ARG001 - as above
        str | None,
        typer.Option(
            metavar="SHELL",
            help="Have SHELL read that whenever it starts.",
            callback=_install_completion,
            is_eager=True,
            autocompletion=completion.offer("shells"),
        ),
    ] = None,
) -> None:
    """Take a PyTorch CNN to a PYNQ FPGA board: prune, compile, deploy, measure.

    \b
    Start with:
      proprune demo
      proprune COMMAND --help

    \b
    Exit codes: 0 done, 1 something you can mend, 2 usage, 3 unsupported or does
    not fit, 4 board unreachable or mismatched, 5 a gate missed, 70 a bug, 130 interrupted,
    143 terminated.
    """
    if isinstance(context.obj, Invocation):
        context.obj.command = context.invoked_subcommand


def run_cli(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    if completion.VARIABLE in os.environ:
        return completion.complete(app)
    as_json = "--json" in arguments
    debug = "--debug" in arguments or bool(os.environ.get("PROPRUNE_DEBUG"))
    invocation = Invocation()

    def stopped() -> Stopped:
        resumes = invocation.command in RESUMABLE
        number = stops.received[0] if stops.received else signal.SIGINT
        return Stopped(number, shlex.join(["proprune", *arguments]) if resumes else "")

    with Stops() as stops:
        try:
            code = cast("Any", app)(args=arguments, prog_name="proprune", standalone_mode=False, obj=invocation)
            flush()
        except BrokenPipeError:
            silence_stdout()
            return 1
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line of defence; nothing is swallowed
            if stops.received:
                stops.ignore()
            if isinstance(error, KeyboardInterrupt) or (stops.received and not isinstance(error, ProPruneError)):
                # A library that was interrupted while it was imported says so in its own words.
                error = stopped()
            elif type(error).__name__ == "Abort":
                # The option parser calls the end of a file an interruption, too.
                error = error.__cause__ or error.__context__ or stopped()
            elif isinstance(error, OSError) and any(
                f.name == "echo" for f in traceback.extract_tb(error.__traceback__)
            ):
                error = stdout_error(error)  # the option parser prints its help itself
            return report(error, as_json=as_json, debug=debug)
        if code == int(ExitCode.INTERRUPTED):
            # The option parser turned the signal into its own exit.
            stops.ignore()
            return report(stopped(), as_json=as_json, debug=False)
        return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the console script."""
    for number, mode in enumerate(("r", "w", "w")):
        # A stream that was closed before would be the number of the next file that is opened.
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the whole process
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign shows another; no command fails for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
