"""The built-in networks. A new one: one file here and one line in `proprune_cli.nets.zoo_names`."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import nn

from proprune_cli.nets.zoo_names import ZOO_FILES

ZOO: dict[str, Callable[..., nn.Module]] = {
    name: getattr(importlib.import_module(f"{__name__}.{file}"), name.replace("-", "_"))
    for name, file in ZOO_FILES.items()
}
"""Name → factory ``(in_channels, classes, size, *, width=1.0, …)``."""
