"""Pruning methods: every file here is one, and is called as its method is. What they share lies in ``common``.

A method declares itself in ``METHOD`` (`Method`): its sentence, its source, when to choose it, how it scores channels
or joins a training run, its options. Importing this package imports none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from proprune_cli.errors import UsageError
from proprune_cli.lazy import face
from proprune_cli.prune.method_names import METHOD_NAMES
from proprune_cli.spec.options import read_options
from proprune_cli.spec.parse import parse_spec

if TYPE_CHECKING:
    from proprune_cli.prune.methods.common.base import Context, Importance, Job, Method, Training

__all__ = ["METHODS", "Context", "Importance", "Job", "Method", "Training", "method_named"]

__getattr__ = face(__name__, {"common.base": "Context Importance Job Method Training"})


class _Methods(Mapping[str, "Method"]):
    """The methods by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Method:
        if name not in METHOD_NAMES:
            raise KeyError(name)
        method: Method = importlib.import_module(f"{__name__}.{name}").METHOD
        return method

    def __iter__(self) -> Iterator[str]:
        return iter(METHOD_NAMES)

    def __len__(self) -> int:
        return len(METHOD_NAMES)


METHODS: Mapping[str, Method] = _Methods()


def method_named(text: str) -> tuple[Method, Any]:
    """The method that ``text`` (``name`` or ``name?key=value&key=value``) names, and its options.

    Raises:
        UsageError: there is no such method, or an option is unknown or out of range.
    """
    spec = parse_spec(text, "--method")
    if spec.name not in METHODS:
        raise UsageError(
            f"there is no pruning method {spec.name!r}",
            where="--method",
            remedy="choose one of " + ", ".join(METHODS),
        )
    method = METHODS[spec.name]
    return method, read_options(spec, method.options, "--method")
