"""Names of the pruning methods: those of the files in ``methods``. Nothing is imported for them."""

from __future__ import annotations

import pkgutil
from pathlib import Path

_FOLDER = Path(__file__).with_name("methods")

METHOD_NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules([str(_FOLDER)]) if not module.ispkg))
