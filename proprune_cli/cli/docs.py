"""``docs/commands.md``, made from the declarations that ``--help`` is made from.

``python -m proprune_cli.cli.docs`` writes it, ``--check`` fails where it is out of date.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, cast

import typer

from proprune_cli.cli.app import app
from proprune_cli.pages import main, table

PAGE = "docs/commands.md"

HEAD = """# Commands

Made from the declarations behind `--help` by `python -m proprune_cli.cli.docs`; do not edit.

Every command takes `--json`: one versioned document, alone on stdout. Progress and messages go to stderr. With `--json`
an error is a document too: `{"schema": "proprune.error/1", "error": {"kind", "exit_code", "what", "where", "remedy"}}`.
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


if __name__ == "__main__":
    sys.exit(main("proprune_cli.cli.docs", {PAGE: page()}))
