"""Records encode what they decode, refuse what does not fit, and never overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Record, check_layout
from proprune_cli.errors import DoesNotFitError


@pytest.mark.parametrize("record", isa.RECORDS, ids=lambda r: r.__name__)
def test_fields_lie_inside_their_record_and_do_not_overlap(record: type[Record]) -> None:
    check_layout(record)


@pytest.mark.parametrize("record", isa.RECORDS, ids=lambda r: r.__name__)
@given(data=st.data())
def test_decoding_gives_back_what_was_encoded(record: type[Record], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    columns = {
        name: np.array(data.draw(st.lists(st.integers(*p.bounds), min_size=count, max_size=count)))
        for name, p in record.layout().items()
    }
    decoded = record.decode(record(**columns).encode())
    for name, column in columns.items():
        np.testing.assert_array_equal(getattr(decoded, name), column)


@pytest.mark.parametrize("value", [-1, 1 << 16])
def test_a_value_beyond_its_field_is_refused_by_name(value: int) -> None:
    with pytest.raises(DoesNotFitError, match="'base'"):
        isa.TapHeader(base=value).encode()


def test_registers_do_not_overlap() -> None:
    ends = 0
    for register in isa.REGISTERS:
        assert register.offset >= ends, register.name
        ends = register.offset + register.width // 8
