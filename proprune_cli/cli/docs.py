"""``docs/commands.md`` and ``docs/run-files.md``, made from the declarations that ``--help`` is made from.

``python -m proprune_cli.cli.docs`` writes them, ``--check`` fails where one is out of date.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, cast

import typer

from proprune_cli.cli.app import app
from proprune_cli.compile.options import CompileOptions
from proprune_cli.pages import main, table
from proprune_cli.prune.options import PruneOptions
from proprune_cli.spec.declare import Declared, declared
from proprune_cli.train.options import TrainOptions

PAGE = "docs/commands.md"

HEAD = """# Commands

Made from the declarations behind `--help` by `python -m proprune_cli.cli.docs`; do not edit.

Every command takes `--json`: one versioned document, alone on stdout. Progress and messages go to stderr: a bar at a
terminal; whole lines in a pipe or a file, one for each stage and epoch as it happens. With `--json` an error is a
document too: `{"schema": "proprune.error/1", "error": {"kind", "exit_code", "what", "where", "remedy"}}`.
"""


def page() -> str:
    """The page's text."""
    group = cast("Any", typer.main.get_command(app))
    parts = [HEAD, f"## proprune\n\n{_help(group)}\n\n{_options(group)}"]
    parts += [
        f"## proprune {name}\n\n{_help(command)}\n\n{_options(command)}" for name, command in group.commands.items()
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _help(command: Any) -> str:
    """Docstring with its preformatted paragraphs (marked by ``\\b``) as code."""
    text = inspect.cleandoc(command.help or "")
    out: list[str] = []
    for paragraph in text.split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if first.strip() == "\b":
            title, _, body = rest.partition("\n")
            indented = body and all(line.startswith("  ") for line in body.splitlines())
            out.append(f"{title}\n\n{_fence(body)}" if indented else rest.replace("\n", " "))
        else:
            out.append(paragraph.replace("\n", " "))
    return "\n\n".join(out)


def _fence(body: str) -> str:
    return "\n".join(["```sh", *(line.strip() for line in body.splitlines()), "```"])


def _options(command: Any) -> str:
    rows: list[tuple[str, str]] = []
    for parameter in command.params:
        if parameter.name in ("help",):
            continue
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        flag = getattr(parameter, "is_flag", False)
        argument = parameter.param_type_name == "argument"
        shown = f"`{parameter.metavar or parameter.name.upper()}`" if argument else names
        if not argument and not flag and parameter.metavar:
            shown += f" `{parameter.metavar}`"
        meaning = " ".join((parameter.help or "").split())
        if parameter.required:
            meaning += " Required."
        elif not flag and parameter.default not in (None, ()):
            meaning += f" Default: `{parameter.default}`."
        rows.append((shown, meaning))
    return table(("argument", "meaning"), rows)


RUN_FILES = "docs/run-files.md"

RUN_FILES_HEAD = """# Run files

Made from the declarations of the options by `python -m proprune_cli.cli.docs`; do not edit.

`--config run.yaml` gives the options of `proprune prune` and `proprune compile` from a file: YAML with `version: 1`
and the sections below; [configs/runs/digits.yaml](../configs/runs/digits.yaml) is one. It is checked whole before
anything runs, and every fault is listed at once. What stands on the command line wins. Paths are relative to the
directory that the command runs in.
"""


def run_files() -> str:
    """The page of run files: every key, and its flag where it has one."""
    sections = (("prune", PruneOptions), ("prune.train", TrainOptions), ("compile", CompileOptions))
    parts = [RUN_FILES_HEAD]
    for name, kind in sections:
        rows = [
            (f"`{o.name}`", f"`{o.flag}`" if o.flag else "", o.help, f"`{_value(o)}`" if o.default else "")
            for o in declared(kind)
        ]
        parts.append(f"## {name}\n\n{table(('key', 'flag', 'meaning', 'default'), rows)}")
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _value(option: Declared) -> str:
    """A default as a run file has it: flags say yes and no by their names."""
    return str(not option.default.startswith("no-")).lower() if option.hint is bool else option.default


if __name__ == "__main__":
    sys.exit(main("proprune_cli.cli.docs", {PAGE: page(), RUN_FILES: run_files()}))
