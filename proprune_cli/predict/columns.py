"""Rows of a data set as columns: what predictors read, checked once.

Columns of passes lie one network after the other; ``starts`` says where each network's begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.boards import Board, load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.errors import InputError
from proprune_cli.predict.schema import FLAT, LABELS, LAYER, LISTS, NETWORK

Column = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIGURES = ("latency_ms", "energy_mj")
"""What predictors predict, of one image."""


@dataclass(frozen=True)
class Lists:
    """A list of whole numbers for each pass.

    Attributes:
        values: int64 [numbers of all passes]. starts: first one of each pass, and the end, int64 [passes + 1].
    """

    values: Ints
    starts: Ints

    def take(self, passes: Ints) -> Lists:
        """Those of some passes."""
        counts = np.diff(self.starts)[passes]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Lists(self.values[np.repeat(self.starts[passes] - starts[:-1], counts) + np.arange(starts[-1])], starts)

    @cached_property
    def owner(self) -> Ints:
        """Pass of each number, int64 [numbers]."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @staticmethod
    def of(found: Sequence[Sequence[int]]) -> Lists:
        """Of one list for each pass."""
        values = [number for one in found for number in one]
        ends = np.cumsum([0, *(len(one) for one in found)])
        return Lists(np.array(values, dtype=np.int64), ends.astype(np.int64))


@dataclass(frozen=True)
class Rows:
    """Networks on arrays.

    Attributes:
        networks: columns of `schema.NETWORK`, [rows]. passes: columns of `schema.FLAT`, [passes of all rows].
        lists: columns of `schema.LISTS`, likewise; numbers of passes count from the first one of the row.
        starts: number of the first pass of each row, and of all passes at the end, int64 [rows + 1].
    """

    networks: Mapping[str, Column]
    passes: Mapping[str, Column]
    lists: Mapping[str, Lists]
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, name: str) -> Column:
        return self.networks[name]

    @cached_property
    def owner(self) -> Ints:
        """Row of each pass, int64 [passes]."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def targets(self) -> list[tuple[Board, Array, Ints]]:
        """Boards and arrays that rows are for, each with the numbers of its rows.

        Raises:
            UsageError: a board or an array is not known here. InputError: an array is another one than it was.
        """
        found: list[tuple[Board, Array, Ints]] = []
        pairs = np.char.add(np.char.add(self["board"].astype(str), "\n"), self["array"].astype(str))
        for pair in np.unique(pairs).tolist():
            board_name, array_name = pair.split("\n")
            array, at = load_array(array_name), np.flatnonzero(pairs == pair)
            if (self["contract"][at] != array.digest).any():
                raise InputError(
                    f"rows are of another array {array_name} than the one known here",
                    where="column contract",
                    remedy="make the data set again",
                )
            found.append((load_board(board_name), array, at))
        return found

    def per_row(self, value: Any) -> Floats:
        """``value(board, array, memory)`` of every row, float64 [rows, …]."""
        found: Floats | None = None
        for board, array, at in self.targets:
            one = np.asarray(value(board, array, Memory.of(board, array)), dtype=np.float64)
            if found is None:
                found = np.zeros((len(self), *one.shape))
            found[at] = one
        return np.zeros(0) if found is None else found

    def sums(self, values: NDArray[Any]) -> Floats:
        """Sums of a column of passes over each row, float64 [rows]."""
        return np.add.reduceat(values.astype(np.float64), self.starts[:-1]) if len(self) else np.zeros(0)

    def take(self, which: NDArray[Any]) -> Rows:
        """Some of the rows: their numbers, or bool [rows]."""
        at = np.flatnonzero(which) if which.dtype == np.bool_ else which
        counts = np.diff(self.starts)[at]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        passes = np.repeat(self.starts[at] - starts[:-1], counts) + np.arange(starts[-1])
        return Rows(
            {name: column[at] for name, column in self.networks.items()},
            {name: column[passes] for name, column in self.passes.items()},
            {name: column.take(passes) for name, column in self.lists.items()},
            starts,
        )


def columns(table: Any) -> Rows:
    """The rows of a `pyarrow.Table` in the schema of this version.

    Raises:
        InputError: a figure is missing, no number, or below 0; a row has no passes.
    """
    networks = {name: _column(table.column(name), kind, name) for name, (kind, _) in NETWORK.items()}
    lists = table.column("layers").combine_chunks()
    counts = np.asarray(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    fields = dict(zip(LAYER, lists.flatten().flatten(), strict=True))
    passes = {name: _column(fields[name], kind, f"layers.{name}") for name, (kind, _) in FLAT.items()}
    numbers = {name: _lists(fields[name], f"layers.{name}") for name in LISTS}
    rows = Rows(networks, passes, numbers, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    check(rows)
    return rows


def rows_of(documents: Sequence[Mapping[str, Any]]) -> Rows:
    """As `columns`, of rows as `proprune_cli.predict.rows.figures` gives them; labels may be missing, which are 0 then.

    Raises:
        InputError: as in `columns`.
    """
    defaults: dict[str, Any] = {"string": "", "bool": False, "float64": 0.0}
    types: dict[str, Any] = {"string": object, "bool": np.bool_, "float64": np.float64}

    def columns_of(found: Sequence[Mapping[str, Any]], names: Mapping[str, tuple[str, str]]) -> dict[str, Column]:
        return {
            name: np.array([d.get(name, defaults.get(kind, 0)) for d in found], dtype=types.get(kind, np.int64))
            for name, (kind, _) in names.items()
        }

    counts = [len(d["layers"]) for d in documents]
    layers = [layer for d in documents for layer in d["layers"]]
    rows = Rows(
        columns_of(documents, NETWORK),
        columns_of(layers, FLAT),
        {name: Lists.of([layer[name] for layer in layers]) for name in LISTS},
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    check(rows)
    return rows


def _column(values: Any, kind: str, name: str) -> Column:
    if values.null_count:
        raise InputError(f"{values.null_count} values are missing", where=f"column {name}", remedy=_AGAIN)
    found = values.to_numpy() if hasattr(values, "chunks") else values.to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype=np.int64) if kind.startswith("int") else np.asarray(found)


def _lists(values: Any, name: str) -> Lists:
    if values.null_count:
        raise InputError(f"{values.null_count} values are missing", where=f"column {name}", remedy=_AGAIN)
    lengths = np.asarray(values.value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Lists(_column(values.flatten(), "int32", name), starts)


_AGAIN = "make the data set again"
_POSITIVE = ("in_channels", "in_slots", "out_channels", "kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h",
             "dilation_w", "in_h", "in_w", "out_h", "out_w", "step_h", "step_w", "tensor_words", "blocks",
             "chunks")  # fmt: skip
_SIGNED = ("pad_h", "pad_w")


def check(rows: Rows) -> None:
    """Refuse figures that no network has, before anything learns from them.

    Raises:
        InputError: one is no number, or below what it can be.
    """
    if (np.diff(rows.starts) < 1).any():
        raise InputError("a network has no passes", where="column layers", remedy=_AGAIN)
    for name, (kind, _) in NETWORK.items():
        if kind != "string":
            _refuse(rows.networks[name], name, 1 if name in ("batch", "clock_mhz") else 0)
    for name, (kind, _) in FLAT.items():
        if kind not in ("string", "bool") and name not in LABELS:
            least = -(1 << 15) if name in _SIGNED else 1 if name in _POSITIVE else 0
            _refuse(rows.passes[name], f"layers.{name}", least)
    _check_reads(rows)
    kinds = set(np.unique(rows.passes["kind"].astype(str)).tolist())
    if unknown := kinds - {"dense", "diagonal", "max"}:
        raise InputError(f"there are no passes of kind {sorted(unknown)[0]!r}", where="layers.kind", remedy=_AGAIN)


def _check_reads(rows: Rows) -> None:
    """Refuse passes that read what is written later, or lists that do not belong together."""
    number = np.arange(len(rows.owner)) - rows.starts[:-1][rows.owner]
    lists = rows.lists
    for tensors, others in (("inputs", ("input_groups", "input_row")), ("operands", ("operand_row",))):
        found = lists[tensors]
        early = (found.values < -1) | (found.values >= number[found.owner])
        if early.any():
            at = int(np.flatnonzero(early)[0])
            raise InputError(
                f"a pass reads tensor {found.values[at]}, which is not written before it",
                where=f"layers.{tensors}", remedy=_AGAIN,
            )  # fmt: skip
        for name in others:
            if not np.array_equal(lists[name].starts, found.starts):
                raise InputError(f"there are not as many as {tensors}", where=f"layers.{name}", remedy=_AGAIN)
            _refuse(lists[name].values, f"layers.{name}", 1 if name == "input_groups" else 0)
    if (np.diff(lists["inputs"].starts) < 1).any():
        raise InputError("a pass reads nothing", where="layers.inputs", remedy=_AGAIN)
    groups = np.add.reduceat(lists["input_groups"].values, lists["inputs"].starts[:-1])
    if (groups != -(-rows.passes["in_slots"] // isa.GROUP)).any():
        raise InputError(
            "a pass reads more or fewer groups than those of its input", where="layers.input_groups", remedy=_AGAIN
        )
    if ((np.diff(lists["operands"].starts) > 0) != rows.passes["residual"]).any():
        raise InputError("passes without an operand have some, or the reverse", where="layers.operands", remedy=_AGAIN)
    if (rows.passes["tensor"] > number).any():
        raise InputError("a tensor is written first by a later pass", where="layers.tensor", remedy=_AGAIN)


def _refuse(values: Column, name: str, least: int) -> None:
    numbers = values.astype(np.float64)
    bad = ~np.isfinite(numbers) | (numbers < least)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(f"value {at} is {values[at]}", where=f"column {name}", remedy=_AGAIN)
