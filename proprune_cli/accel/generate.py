"""Writes, or with ``--check`` compares, every committed file that is derived from the contract.

Usage: ``python -m proprune_cli.accel.generate [--check]``. A new page joins by adding its function to ``GENERATORS``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from proprune_cli import pages
from proprune_cli.accel import headers, hls_subset, resources_tally, rtl_packages
from proprune_cli.errors import ProPruneError


def _headers() -> dict[str, str]:
    return {f"hls/generated/{name}": text for name, text in headers.headers().items()}


def _packages() -> dict[str, str]:
    return {f"rtl/generated/{name}": text for name, text in rtl_packages.packages().items()}


def _resources() -> dict[str, str]:
    return {"docs/resources.md": resources_tally.page()}


GENERATORS: list[Callable[[], dict[str, str]]] = [_headers, _packages, _resources]
"""Each returns path below the repository's root → text."""


def outputs() -> dict[str, str]:
    """All generated files: path → text.

    Raises:
        DoesNotFitError: an array does not fit its part.
    """
    files: dict[str, str] = {}
    for generator in GENERATORS:
        files.update(generator())
    return files


def main(arguments: list[str] | None = None) -> int:
    """`pages.main` for all of them; with ``--check`` also whether the engine's sources keep to the HLS subset."""
    try:
        files = outputs()
        faults = hls_subset.check_tree(pages.ROOT / "hls")
    except ProPruneError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    code = pages.main("proprune_cli.accel.generate", files, arguments)
    for fault in faults:
        print(f"an HLS compiler cannot take this (see hls/README.md): {fault}", file=sys.stderr)
    return 1 if faults else code


if __name__ == "__main__":
    sys.exit(main())
