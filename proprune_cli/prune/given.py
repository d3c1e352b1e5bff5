"""Objects that a Python caller hands a run instead of names: a module, data, functions of outputs and targets."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from proprune_cli.data.dataset import Source


@dataclass(frozen=True)
class Given:
    """Each stands for the option of its name; None: the option says it.

    Attributes:
        model: a copy of the caller's module, which the run may change.
        normalise: whether images are normalised before the network; None: not before a module that was handed over.
    """

    model: nn.Module | None = None
    data: Source | None = None
    loss: Callable[..., Any] | None = None
    metric: Callable[..., Any] | None = None
    normalise: bool | None = None

    @property
    def stored_images(self) -> bool:
        """Whether the network takes images as the data set has them."""
        return self.model is not None and not self.normalise


NOTHING = Given()


def code_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the source of a function, or of an object's class; of its bytecode where no source can be read."""
    try:
        text = inspect.getsource(function if inspect.isroutine(function) else type(function)).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = repr(type(function)).encode() if code is None else code.co_code + repr(code.co_names).encode()
    return hashlib.sha256(text).hexdigest()
