"""Views of tensors: concatenation, channel selection and cropping without moving a byte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import GroupRef, View


def concatenated(views: list[View]) -> View:
    """The views' channels one after the other. All must look through the same window."""
    groups: tuple[GroupRef, ...] = ()
    slots: list[NDArray[np.int64]] = []
    for view in views:
        slots.append(view.slots + len(groups) * isa.GROUP)
        groups += view.groups
    return _tidy(replace(views[0], groups=groups, slots=np.concatenate(slots)))


def selected(view: View, channels: NDArray[np.int64]) -> View:
    """Channels ``channels`` of ``view``."""
    return _tidy(replace(view, slots=view.slots[channels]))


def window_of(view: View, first: tuple[int, int], size: tuple[int, int]) -> View:
    """The rows and columns of ``view`` from ``first`` on, ``size`` of them."""
    return replace(view, top=view.top + first[0], left=view.left + first[1], height=size[0], width=size[1])


def mixed(view: View, storage: str, groups: list[int]) -> View:
    """``view`` with ``groups`` taken from ``storage`` instead, where they lie one after the other."""
    planes = list(view.groups)
    for number, group in enumerate(groups):
        planes[group] = (storage, number)
    return replace(view, groups=tuple(planes))


def _tidy(view: View) -> View:
    """Drop groups that nothing reads, and order the rest so that the view is canonical where it can be."""
    order = list(dict.fromkeys((view.slots // isa.GROUP).tolist()))
    number = np.zeros(len(view.groups), dtype=np.int64)
    number[order] = np.arange(len(order))
    slots = number[view.slots // isa.GROUP] * isa.GROUP + view.slots % isa.GROUP
    return replace(view, groups=tuple(view.groups[g] for g in order), slots=slots)
