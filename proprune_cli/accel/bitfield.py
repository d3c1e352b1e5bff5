"""Typed bit fields: a record of 64-bit words is a frozen dataclass whose fields carry their position.

The declaration is the encoder, the decoder, the range check and the source of the generated C++ accessors. Records are
columnar: an attribute holds one integer or a whole column of them, so thousands of taps encode in one call.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from proprune_cli.errors import DoesNotFitError

Column = NDArray[np.int64]
"""One field of many records."""

Value = int | Column
Words = NDArray[np.uint64]
R = TypeVar("R", bound="Record")

WORD_BITS = 64


@dataclass(frozen=True)
class Bits:
    """Position of a field: ``width`` bits from bit ``low`` of word ``word``, two's complement where ``signed``.

    ``address``: it says where in memory something lies, so that a program is refused unless what lies there is known.
    """

    word: int
    low: int
    width: int
    signed: bool
    doc: str
    address: bool = False

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1


def bits(word: int, low: int, width: int, doc: str, *, signed: bool = False, address: bool = False) -> Any:
    """Declare a field of a :class:`Record`; its default value is 0."""
    return dataclasses.field(default=0, metadata={"bits": Bits(word, low, width, signed, doc, address)})


@dataclass(frozen=True)
class Record:
    """Base of every record. Subclasses are frozen dataclasses declared with :func:`bits`."""

    WORDS: ClassVar[int] = 0

    @classmethod
    def layout(cls) -> dict[str, Bits]:
        """Field name → position, in declaration order."""
        return {f.name: cast("Bits", f.metadata["bits"]) for f in dataclasses.fields(cls)}

    def encode(self) -> Words:
        """Pack into uint64 [n, WORDS], scalars broadcast over the columns.

        Raises:
            DoesNotFitError: a value does not fit its field.
        """
        columns = {name: np.asarray(getattr(self, name), dtype=np.int64) for name in self.layout()}
        count = np.broadcast_shapes(*(c.shape for c in columns.values()), (1,))[0]
        out = np.zeros((count, self.WORDS), dtype=np.uint64)
        for name, position in self.layout().items():
            values = columns[name]
            low, high = position.bounds
            if values.size and (values.min() < low or values.max() > high):
                worst = int(values.max() if values.max() > high else values.min())
                raise DoesNotFitError(
                    f"{worst} does not fit the {position.width}-bit field {name!r}",
                    where=f"{type(self).__name__} descriptor",
                    remedy="a dimension is beyond what the engine can address; use a smaller input or layer",
                )
            mask = np.uint64((1 << position.width) - 1)
            out[:, position.word] |= (values.astype(np.uint64) & mask) << np.uint64(position.low)
        return out

    @classmethod
    def decode(cls: type[R], words: Words) -> R:
        """Unpack uint64 [n, WORDS] (or [n * WORDS]) into columns of int64 [n]."""
        table = words.reshape(-1, cls.WORDS)
        columns: dict[str, Column] = {}
        for name, p in cls.layout().items():
            raw = (table[:, p.word] >> np.uint64(p.low)) & np.uint64((1 << p.width) - 1)
            column = raw.astype(np.int64)
            if p.signed:
                column = np.where(column >> (p.width - 1), column - (1 << p.width), column)
            columns[name] = column
        return cls(**columns)

    def row(self: R, index: int) -> R:
        """Record ``index`` of a columnar record, with plain integers."""
        return type(self)(**{n: int(np.asarray(getattr(self, n)).reshape(-1)[index]) for n in self.layout()})


def check_layout(record: type[Record]) -> None:
    """Assert that no two fields overlap and all lie inside the record: a fault here is ours, never a user's."""
    used: dict[tuple[int, int], str] = {}
    for name, p in record.layout().items():
        assert 0 <= p.word < record.WORDS, f"{record.__name__}.{name} lies outside the record"
        assert p.low + p.width <= WORD_BITS, f"{record.__name__}.{name} crosses a word"
        for bit in range(p.low, p.low + p.width):
            other = used.setdefault((p.word, bit), name)
            assert other == name, f"{record.__name__}.{name} overlaps {other}"
