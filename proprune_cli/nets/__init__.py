"""Networks that a user names or brings, and their way out: the zoo, import paths, ONNX files, export to ONNX.

What it may know: torch, ONNX, and what users write (`proprune_cli.spec`). Nothing of channels, data or training: a
network from here is an ordinary ``torch.nn.Module``.

The way in is `build_model`. A new network of the zoo is one file in ``zoo/`` and one line in ``zoo_names.py``; a new
ONNX operator that can be pruned is one function in ``onnx_rules``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proprune_cli.lazy import face

if TYPE_CHECKING:
    from proprune_cli.nets.export import to_onnx
    from proprune_cli.nets.models import build_model
    from proprune_cli.nets.onnx_import import import_onnx
    from proprune_cli.nets.zoo import ZOO

__all__ = ["ZOO", "build_model", "import_onnx", "to_onnx"]

__getattr__ = face(
    __name__,
    {
        "models": "build_model",
        "onnx_import": "import_onnx",
        "export": "to_onnx",
        "zoo": "ZOO",
    },
)
