"""The operators that can be imported: whatever the files of this folder declare.

A file declares an `Operator` by giving it a name at its top level, alone or in a tuple; nothing lists it elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from proprune_cli.ops.importing import Operator

_READERS_OF_THIS = ("page", "registry")


def _declared() -> dict[str, Operator]:
    found: dict[str, Operator] = {}
    for file in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if file.name in _READERS_OF_THIS:
            continue
        module = importlib.import_module(f"{__package__}.{file.name}")
        for value in vars(module).values():
            for operator in value if isinstance(value, tuple) else (value,):
                if not isinstance(operator, Operator):
                    continue
                if found.setdefault(operator.onnx, operator) is not operator:
                    raise ImportError(f"the operator {operator.onnx} is declared twice, again in {module.__file__}")
    return found


BY_NAME: dict[str, Operator] = dict(sorted(_declared().items()))
OPERATORS: tuple[Operator, ...] = tuple(BY_NAME.values())
