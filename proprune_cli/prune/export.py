"""Another name of `proprune_cli.nets.export`, which scripts of before its move import."""

from proprune_cli.nets.export import to_onnx

__all__ = ["to_onnx"]
