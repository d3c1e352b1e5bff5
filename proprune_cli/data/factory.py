"""Data of the user's own code: ``package.module:factory`` gives arrays, or data sets as PyTorch's loaders take them."""

from __future__ import annotations

from proprune_cli.data.dataset import Source
from proprune_cli.data.objects import source_of_objects
from proprune_cli.spec.factories import imported, made
from proprune_cli.spec.parse import Spec


def load_factory(spec: Spec, where: str) -> Source:
    """Data set that the factory gives, in one of the forms of `proprune_cli.data.objects`.

    Raises:
        InputError: the factory cannot be imported or fails, or gives something else.
    """
    found = made(imported(spec, where), (), spec.arguments, where, "data set")
    return source_of_objects(found, spec.name.rpartition(":")[2], where)
