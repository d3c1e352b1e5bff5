"""Pruning methods. A new one: one file here and its name in `METHODS`."""

from __future__ import annotations

from typing import Any

from proprune_cli.errors import UsageError
from proprune_cli.prune.methods import binary, bn, decay, guided, knapsack, l1, l2, lobster, random, serene, swd, taylor
from proprune_cli.prune.methods.common.base import Context, Importance, Job, Method, Training
from proprune_cli.spec.options import read_options
from proprune_cli.spec.parse import parse_spec

__all__ = ["METHODS", "Context", "Importance", "Job", "Method", "Training", "method_named"]

METHODS: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (l1, l2, bn, taylor, random, swd, lobster, serene, decay, guided, binary, knapsack)
}


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
