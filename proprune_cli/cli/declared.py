"""Flags of a command from the dataclasses whose fields declare them (`proprune_cli.spec.declare`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import typer

from proprune_cli.cli.completion import offer, offer_choices
from proprune_cli.spec.declare import Declared, declared

Command = TypeVar("Command", bound=Callable[..., None])
_TYPES = (bool, int, float)


def with_flags(kinds: Mapping[str, type[Any]], without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command the flags of the fields of ``kinds``, in place of its parameter ``given``.

    That gets those that the user gave, by the names of their fields.

    Args:
        kinds: dataclasses, by the prefix of their fields' names in ``given``: ``{"": PruneOptions, "train.": …}``.
        without: names in ``given`` that get no flag.
    """
    options = {
        f"{prefix}{option.name}": option
        for prefix, kind in kinds.items()
        for option in declared(kind)
        if option.flag is not None and f"{prefix}{option.name}" not in without
    }
    # A dot is no part of a Python name.
    names = {name.replace(".", "__"): name for name in options}

    def dress(function: Command) -> Command:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "given"]

        def command(**arguments: Any) -> None:
            flagged = {names[n]: v for n, v in arguments.items() if n in names and v not in (None, [])}
            given = {name: tuple(v) if isinstance(v, list) else v for name, v in flagged.items()}  # pyright: ignore[reportUnknownArgumentType]
            function(given=given, **{p.name: arguments[p.name] for p in own})

        flags = [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(options[name]))
            for n, name in names.items()
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        first = [p for p in parameters if p.default is inspect.Parameter.empty]
        rest = [p for p in parameters if p.default is not inspect.Parameter.empty]
        signature = inspect.Signature([*first, *flags, *rest])
        command.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        command.__doc__, command.__name__ = function.__doc__, function.__name__
        return cast("Command", command)

    return dress


def _annotation(option: Declared) -> Any:
    """What typer makes a flag of; every flag may be left out."""
    plain = _plain(option.hint)
    text = option.help + (f"  [default: {option.default}]" if option.default else "")
    flag = f"{option.flag}/--no-{str(option.flag).removeprefix('--')}" if plain is bool else str(option.flag)
    asked = typer.Option(flag, metavar=option.metavar or None, help=text, autocompletion=_completion(option))
    return Annotated[Union[plain, None], asked]  # noqa: UP007


def _completion(option: Declared) -> Callable[[str], list[str]] | None:
    """What a shell offers for the flag: a registry's names, or the words that its type lists."""
    if option.offers:
        return offer(option.offers)
    hints = get_args(option.hint) if get_origin(option.hint) in (Union, UnionType) else (option.hint,)
    choices = tuple(word for hint in hints if get_origin(hint) is Literal for word in get_args(hint))
    return offer_choices(choices) if choices else None


def _plain(hint: Any) -> Any:
    """The type that a flag's text is read as: choices and whatever parses itself are text."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        return list[str]
    if get_origin(hint) is Literal:
        return str
    return hint if hint in _TYPES or getattr(hint, "__module__", "") == "pathlib" else str
