"""Every message of the package: what it names exists, and what users cannot do it does not ask of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer

import proprune_cli
from proprune_cli import errors
from proprune_cli.cli.app import app
from proprune_cli.compile.options import CompileOptions
from proprune_cli.prune.options import PruneOptions
from proprune_cli.spec.declare import declared
from proprune_cli.train.options import TrainOptions

PACKAGE = Path(proprune_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?![\w-])")

OF_MODULES = {"--check", "--write"}
"""Options of the modules that write generated files: ``python -m proprune_cli.…``."""

OF_TOOLS = {"--cc", "--getenv", "--top-module", "--x-initial"}
"""Options of Verilator, each a word of its command line by itself."""


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings; an f-string's parts stand for themselves."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(statement.value)
        for node in ast.walk(tree)
        for statement in (node.body if isinstance(node, documented) else [])
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def options_of_commands() -> set[str]:
    group = cast("Any", typer.main.get_command(app))
    commands = [group, *group.commands.values()]
    return {
        "--help",
        *(name for command in commands for p in command.params for name in (*p.opts, *p.secondary_opts)),
    }


def unknown_options(text: str, known: set[str]) -> list[str]:
    modules = OF_MODULES if text.strip() in OF_MODULES or "python -m" in text else set[str]()
    tools = OF_TOOLS if text.strip() in OF_TOOLS else set[str]()
    return [name for name in OPTION.findall(text) if name not in known | modules | tools]


def test_every_option_that_a_message_names_is_one_of_some_command() -> None:
    known = options_of_commands()
    found = [
        f"{file.relative_to(PACKAGE)}:{line}: {name}"
        for file in FILES
        for line, text in strings(ast.parse(file.read_text(encoding="utf-8")))
        for name in unknown_options(text, known)
    ]
    assert found == []


def test_the_check_sees_an_option_that_is_none() -> None:
    known = options_of_commands()
    assert {"--min-keep", "--no-host", "--json", "--version"} <= known
    assert unknown_options("lower --keep-min, or --min-keep", known) == ["--keep-min"]
    assert unknown_options("run `python -m x --write`", known) == [] and unknown_options("use --write", known) != []


@pytest.mark.parametrize("kind", [TrainOptions, PruneOptions, CompileOptions])
def test_options_refuse_their_values_under_their_own_names(kind: type[Any]) -> None:
    """A key of run files alone is no option: another command may have one of that name, which means something else."""
    flags = {option.flag for option in declared(kind)}
    file = Path(__import__(kind.__module__, fromlist=["x"]).__file__)
    tree = next(
        n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ClassDef) and n.name == kind.__name__
    )
    checks = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "__post_init__"]
    named = {text for check in checks for _, text in strings(ast.Module([check], [])) if OPTION.fullmatch(text)}
    assert named <= flags


NEVER = re.compile(
    r"report (this|it)\b|bug in your|fault of your|your (code|model|network) (is|has) (wrong|broken|bad)", re.I
)


def test_no_message_asks_for_a_report_or_blames_the_user() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{line}: {text}"
        for file in FILES
        for line, text in strings(ast.parse(file.read_text(encoding="utf-8")))
        if NEVER.search(text)
    ]
    assert found == []


def test_every_error_says_where_and_what_to_do() -> None:
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.ProPruneError)
    }
    found: list[str] = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                empty = [
                    name
                    for name in ("where", "remedy")
                    if name not in given or (isinstance(v := given[name], ast.Constant) and not v.value)
                ]
                found += [
                    f"{file.relative_to(PACKAGE)}:{node.lineno}: no {name}" for name in empty if None not in given
                ]
    assert found == []
