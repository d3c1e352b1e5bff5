"""The version of this installation."""

from __future__ import annotations

from importlib import metadata


def tool_version() -> str:
    """Version of the installed distribution; "0+source" when run from a checkout that was never installed."""
    try:
        return metadata.version("proprune")
    except metadata.PackageNotFoundError:
        return "0+source"
