"""What a Python caller hands over as an object, where users of the command line write a name.

A run records such an option by the words below; the objects themselves are compared by their content.
"""

from __future__ import annotations

import re

_MODULE = "module "
DATA = "data handed over"
"""What a run records as ``data``."""


def module_words(kind: type[object]) -> str:
    """What a run records as its ``model``: ``module`` and the name of the class."""
    return _MODULE + re.sub(r"\W", "_", kind.__name__)


def is_module(model: str) -> bool:
    """Whether a run's ``model`` was handed over: no zoo name, import path or ONNX file has this form."""
    return re.fullmatch(_MODULE + r"\w+", model) is not None
