"""Another name of `proprune_cli.channels.surgery`, which scripts of before its move import."""

from proprune_cli.channels.surgery import Cuts, shrink

__all__ = ["Cuts", "shrink"]
