"""Options declared once, as fields of a dataclass: flags of the command line, keys of run files, their page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

_META = "proprune"


@dataclass(frozen=True)
class Declared:
    """One option.

    Attributes:
        name: of the field. hint: its type.
        help: what it does. metavar: what stands for its value. default: as people read it, empty for none.
        flag: on the command line, such as ``--min-keep``; None: a key of run files alone.
        offers: which names a shell completes it to, as `proprune_cli.cli.completion` knows them; empty for none.
    """

    name: str
    hint: Any
    help: str
    metavar: str
    default: str
    flag: str | None
    offers: str = ""


def given(
    help: str,  # noqa: A002 - the command line's own word
    default: Any = dataclasses.MISSING,
    *,
    metavar: str = "",
    shown: str | None = None,
    factory: Callable[[], Any] | None = None,
    flag: str = "",
    offers: str = "",
) -> Any:
    """A field that is a flag of the command line and a key of run files.

    Args:
        shown: the default as people read it, where it is not the value itself.
        factory: makes the default. flag: where it is not the field's name with dashes. offers: see `Declared`.
    """
    return _field(help, default, metavar, shown, factory, flag, offers)


def key(help: str, default: Any = dataclasses.MISSING, *, shown: str | None = None) -> Any:  # noqa: A002
    """A field that is a key of run files alone."""
    return _field(help, default, "", shown, None, None)


def declared(kind: type[Any]) -> list[Declared]:
    """The options of a dataclass, in the order of its fields; fields that are not declared as such are left out."""
    hints = get_type_hints(kind)
    found: list[Declared] = []
    for field in dataclasses.fields(kind):
        meta = field.metadata.get(_META)
        if meta is None:
            continue
        flag = meta["flag"] if meta["flag"] != "" else "--" + field.name.replace("_", "-")
        shown = meta["shown"] if meta["shown"] is not None else _shown(field)
        found.append(
            Declared(field.name, hints[field.name], meta["help"], meta["metavar"], shown, flag, meta["offers"])
        )
    return found


def _field(
    text: str,
    default: Any,
    metavar: str,
    shown: str | None,
    factory: Callable[[], Any] | None,
    flag: str | None,
    offers: str = "",
) -> Any:
    meta = {_META: {"help": text, "metavar": metavar, "shown": shown, "flag": flag, "offers": offers}}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


def _shown(field: dataclasses.Field[Any]) -> str:
    """A default as people read it: nothing for none, the flag that is meant for yes and no."""
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    if value is dataclasses.MISSING or value is None or value == ():
        return ""
    if isinstance(value, bool):
        return field.name if value else f"no-{field.name}"
    return f"{value:g}" if isinstance(value, float) else str(value)
