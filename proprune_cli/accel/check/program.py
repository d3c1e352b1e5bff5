"""The walk over a program's image: layers, steps, streams, and every address that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Record, Words
from proprune_cli.accel.check.layout import layout_faults
from proprune_cli.accel.check.streams import Stream, read_stream
from proprune_cli.accel.check.work import MAX_STEP_STORES, LayerSteps, work_faults
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.program import Program

LOOKUP_WORDS = 256 // isa.WORD_BYTES
OFFSET = isa.ON_CHIP - 1
"""The bits of an address that count words."""

Column = NDArray[np.int64]


def check_program(program: Program, array: Array) -> tuple[LayerSteps, ...]:
    """Walk ``program``, compiled for ``array``, from its layer table to its last tap; what each layer does.

    Raises:
        InputError: it reads or writes where it must not, asks for what the array cannot do, says one thing twice and
            differently, or takes more work than anything runs.
    """
    table = Site("table")
    if faults := layout_faults(program):
        raise table.fault("; ".join(faults))
    image = _Image(np.ascontiguousarray(program.image), program)
    layers = program.layers()
    done: list[LayerSteps] = []
    for number, name in enumerate(program.layer_names):
        done.append(_Layer(image, array, layers.row(number), Site(f"{number} {name!r}")).check())
    for fault in work_faults(done):
        raise table.fault(fault)
    return tuple(done)


@dataclass
class _Image:
    """A program's image, which nothing writes, and how much of it has been read.

    Tables and streams of a program do not overlap, but that streams serve many steps; so no more words are read than
    there are. That bounds the check itself, whatever the tables claim.
    """

    words: Words
    program: Program
    streams: dict[tuple[int, int, bool], Stream] = field(default_factory=dict[tuple[int, int, bool], Stream])
    _read: int = 0

    def read(self, address: int, count: int, site: Site, name: str) -> Words:
        """uint64 [count] at ``address``.

        Raises:
            InputError: it reaches beyond the image, where it could be written over, or it was read before.
        """
        if address + count > self.words.size:
            raise site.fault(
                f"{name} [{address}, {address + count}) reaches beyond the image of {self.words.size} words"
            )
        self._read += count
        if self._read > self.words.size:
            raise site.fault(f"{name} [{address}, {address + count}) shares words with other tables of the program")
        return self.words[address : address + count]


class _Layer:
    """One layer while it is checked. Steps are columns: int64 [steps]."""

    def __init__(self, image: _Image, array: Array, d: isa.LayerDescriptor, site: Site) -> None:
        self.image, self.array, self.d, self.site = image, array, _Fields(d), site
        self.s = _Fields(isa.StepDescriptor())
        self.streams: list[Stream] = []
        self.stream_of = self.farthest = np.zeros(0, dtype=np.int64)

    def check(self) -> LayerSteps:
        """Every field of the layer, of its steps and of their streams.

        Raises:
            InputError: as `check_program`.
        """
        self._check_modes()
        for check in ADDRESSES.values():
            check(self)
        s = self.s
        return LayerSteps(len(s.taps), sum(s.iterations.tolist()))

    def refuse(self, wrong: NDArray[np.bool_], what: Callable[[int], str]) -> None:
        """Refuse the first step for which ``wrong`` holds; ``what`` says why, given its number."""
        if wrong.any():
            step = int(np.flatnonzero(wrong)[0])
            raise self.site.at_step(step).fault(what(step))

    def _check_modes(self) -> None:
        d, array, site = self.d, self.array, self.site
        for name, values in (("mode", isa.Mode), ("combine", isa.Combine), ("lookup", isa.Lookup)):
            if getattr(d, name) not in tuple(values):
                raise site.fault(f"{name} {getattr(d, name)} is unknown")
        if not 1 <= d.groups_per_chunk <= array.ic_groups:
            raise site.fault(f"{d.groups_per_chunk} channel groups in a chunk; the array holds 1 to {array.ic_groups}")
        if d.in_pitch < d.in_width:
            raise site.fault(f"in_pitch is {d.in_pitch}, but the input's rows have {d.in_width} words")
        if min(d.out_step_y, d.out_step_x) < 1:
            raise site.fault(
                f"output steps of {d.out_step_y} rows and {d.out_step_x} pixels store every pixel in one place"
            )
        if not 1 <= d.pattern_count <= array.max_patterns:
            raise site.fault(f"{d.pattern_count} lane patterns; the array holds 1 to {array.max_patterns}")
        if not d.step_count:
            raise site.fault("it has no steps")

    # One check for each address of the contract, in this order.

    def steps(self) -> None:
        """``step_table``, and what the steps say by themselves."""
        count = self.d.step_count
        words = self.image.read(self.d.step_table, count * isa.StepDescriptor.WORDS, self.site, "the step table")
        self.s = _Fields(isa.StepDescriptor.decode(words))
        s, d, array = self.s, self.d, self.array
        empty = np.minimum.reduce([s.rows, s.cols, s.groups, s.tile_height, s.tile_width]) < 1
        self.refuse(empty, lambda _: "its input or output tile is empty")
        self.refuse(
            s.depends > isa.STEPS_IN_FLIGHT,
            lambda n: f"depends is {s.depends[n]}, but no more than {isa.STEPS_IN_FLIGHT} steps are ever in flight",
        )
        chunks = -(-s.groups // d.groups_per_chunk)
        cells = (chunks - 1) * d.chunk_cells + (s.rows - 1) * d.pitch + s.cols
        self.refuse(
            cells > array.bank_depth,
            lambda n: f"the input tile needs {cells[n]} cells of a bank; the array has {array.bank_depth}",
        )
        loaded = s.rows * s.cols * s.groups
        self.refuse(
            loaded > array.bank_depth * array.ic_groups,
            lambda n: f"{loaded[n]} words are loaded, more than the banks hold: rows or chunks overlap",
        )
        pixels = s.tile_height * s.tile_width
        beats = np.maximum(-(-pixels // array.px), array.min_beats)
        self.refuse(s.beats != beats, lambda n: f"beats is {s.beats[n]}, but {pixels[n]} pixels take {beats[n]}")

    def patterns(self) -> None:
        """``pattern_table``: int64 [patterns], the largest offset of each."""
        count = self.d.pattern_count * self.array.pattern_words
        words = self.image.read(self.d.pattern_table, count, self.site, "the pattern table")
        self.farthest = words.view("<u2").reshape(self.d.pattern_count, -1).astype(np.int64).max(axis=1)

    def weights(self) -> None:
        """``weights``: the streams, and what the steps say of theirs."""
        s, port = self.s, self.array.weight_port_words
        self.refuse(
            s.weights % port != 0,
            lambda n: f"the weight stream's address {s.weights[n]} is not a multiple of the port's {port} words",
        )
        keys, first, self.stream_of = np.unique(
            np.stack([s.weights, s.weight_words], axis=1), axis=0, return_index=True, return_inverse=True
        )
        self.stream_of = self.stream_of.reshape(-1)
        for (address, count), step in zip(keys.tolist(), first.tolist(), strict=True):
            self.streams.append(self._stream(address, count, self.site.at_step(step)))
        for name in ("blocks", "taps", "emit_blocks", "emit_groups"):
            self._agree(name, self._each(name))
        self._agree("iterations", self._each("taps") * s.beats)
        ends = (self._each("last_slot") + 1) * s.beats
        self.refuse(
            ends > self.array.acc_depth,
            lambda n: f"an accumulator slot ends at {ends[n]}, beyond the {self.array.acc_depth} entries",
        )
        stored = self._each("emit_groups") * (s.tile_height * s.tile_width)
        self.refuse(
            stored > MAX_STEP_STORES, lambda n: f"it stores {stored[n]} words; {MAX_STEP_STORES} are the most of a step"
        )
        self._check_reach()

    def _stream(self, address: int, count: int, site: Site) -> Stream:
        known, is_max = self.image.streams, self.d.mode == isa.Mode.MAX
        key = (address, count, is_max)
        if key not in known:
            words = self.image.read(address, count, site, "the weight stream")
            known[key] = read_stream(self.array, words, is_max, site)
        return known[key]

    def _each(self, name: str) -> Column:
        """int64 [steps]: an attribute of each step's stream."""
        return np.array([getattr(stream, name) for stream in self.streams], dtype=np.int64)[self.stream_of]

    def _agree(self, name: str, counted: Column) -> None:
        said: Column = getattr(self.s, name)
        self.refuse(said != counted, lambda n: f"{name} is {said[n]}, but the weight stream has {counted[n]}")

    def _check_reach(self) -> None:
        """No tap reads beyond a bank."""
        s, d, depth = self.s, self.d, self.array.bank_depth
        far: list[int] = []
        for number, stream in enumerate(self.streams):
            named = np.flatnonzero(stream.reach >= 0)
            if named.size and int(named[-1]) >= len(self.farthest):
                step = int(np.flatnonzero(self.stream_of == number)[0])
                raise self.site.at_step(step).fault(f"lane pattern {named[-1]} of {len(self.farthest)} is named")
            far.append(int(np.max(stream.reach[named] + self.farthest[named], initial=-1)))
        last = (s.tile_height - 1) * (d.stride_y * d.pitch) + (s.tile_width - 1) * d.stride_x
        cells = last + np.array(far, dtype=np.int64)[self.stream_of]
        self.refuse(cells >= depth, lambda n: f"a tap reads bank cell {cells[n]}; the array has {depth}")

    def inputs(self) -> None:
        """``group_table`` and the planes it names, which may lie on chip."""
        d, s = self.d, self.s
        first, end = int(s.first_group.min()), int((s.first_group + s.groups).max())
        words = self.image.read(d.group_table + first, end - first, self.site, "the group table")
        planes = (words & np.uint64(0xFFFFFFFF)).astype(np.int64)
        length = _extent(d.in_height, d.in_pitch, d.in_width)
        wrong = (planes & OFFSET) + length > self._memory(planes)
        if wrong.any():
            group = int(np.flatnonzero(wrong)[0])
            raise self.site.fault(
                f"the input plane of group {first + group}, {length} words at {int(planes[group]) & OFFSET:#x}, "
                f"reaches beyond {self._memory_name(int(planes[group]))}"
            )

    def outputs(self) -> None:
        """``out_base``: every word that a step stores lies behind the image and spares the counters, or on chip."""
        d, s, program = self.d, self.s, self.image.program
        row = d.out_step_y * d.out_pitch
        offset = s.oy0 * row + s.ox0 * d.out_step_x
        beyond = offset + (s.tile_height - 1) * row + (s.tile_width - 1) * d.out_step_x + 1
        lowest = np.array([x.groups[0] if x.groups.size else 0 for x in self.streams], dtype=np.int64)[self.stream_of]
        highest = np.array([x.groups[-1] if x.groups.size else 0 for x in self.streams], dtype=np.int64)[self.stream_of]
        start = (d.out_base & OFFSET) + lowest * d.out_plane + offset
        end = (d.out_base & OFFSET) + highest * d.out_plane + beyond
        emits = s.emit_groups > 0
        size = int(self._memory(np.array([d.out_base]))[0])
        self.refuse(
            emits & (end > size),
            lambda n: f"outputs [{start[n]}, {end[n]}) reach beyond {self._memory_name(d.out_base)}",
        )
        if d.out_base & isa.ON_CHIP:
            return
        image = self.image.words.size
        self.refuse(
            emits & (start < image),
            lambda n: f"outputs [{start[n]}, {end[n]}) reach into the image of {image} words, which holds the program",
        )
        counters = program.counters, program.counters + program.layer_count * isa.LayerCounters.WORDS
        self.refuse(
            emits & (start < counters[1]) & (end > counters[0]),
            lambda n: f"outputs [{start[n]}, {end[n]}) reach into the counters [{counters[0]}, {counters[1]})",
        )

    def residuals(self) -> None:
        """``residual_table`` and the planes it names, which may not lie on chip."""
        d, s = self.d, self.s
        groups = np.unique(np.concatenate([x.groups for x in self.streams]))
        if d.combine == isa.Combine.NONE or not groups.size:
            return
        first = int(groups[0])
        words = self.image.read(d.residual_table + first, int(groups[-1]) + 1 - first, self.site, "the residual table")
        planes = (words & np.uint64(0xFFFFFFFF)).astype(np.int64)
        used = np.array([planes[x.groups - first].max(initial=0) for x in self.streams], dtype=np.int64)[self.stream_of]
        row = d.out_step_y * d.out_pitch
        within = (s.oy0 + s.tile_height - 1) * row + (s.ox0 + s.tile_width - 1) * d.out_step_x
        ends = used + (0 if d.broadcast else within) + 1
        self.refuse(
            (s.emit_groups > 0) & (ends > self.image.program.size),
            lambda n: f"a residual operand ends at {ends[n]}, beyond the buffer of {self.image.program.size} words",
        )

    def lookups(self) -> None:
        """``lookup_table``."""
        if self.d.lookup != isa.Lookup.NONE:
            self.image.read(self.d.lookup_table, LOOKUP_WORDS, self.site, "the lookup table")

    def _memory(self, addresses: Column) -> Column:
        """int64, words of the memory that each address lies in."""
        on_chip = (addresses & isa.ON_CHIP) != 0
        return np.where(on_chip, self.array.scratch_words, self.image.program.size)

    def _memory_name(self, address: int) -> str:
        if address & isa.ON_CHIP:
            return f"the engine's own memory of {self.array.scratch_words} words"
        return f"the buffer of {self.image.program.size} words"


ADDRESSES: Mapping[tuple[type[Record], str], Callable[[_Layer], None]] = {
    (isa.LayerDescriptor, "step_table"): _Layer.steps,
    (isa.LayerDescriptor, "pattern_table"): _Layer.patterns,
    (isa.StepDescriptor, "weights"): _Layer.weights,
    (isa.LayerDescriptor, "group_table"): _Layer.inputs,
    (isa.LayerDescriptor, "out_base"): _Layer.outputs,
    (isa.LayerDescriptor, "residual_table"): _Layer.residuals,
    (isa.LayerDescriptor, "lookup_table"): _Layer.lookups,
}
"""What checks each address that a record holds, in the order in which the checks need each other's results."""

_declared = {(record, name) for record in isa.RECORDS for name, bits in record.layout().items() if bits.address}
if _declared != ADDRESSES.keys():
    raise AssertionError(
        f"addresses of the contract that nothing checks, or checks of none: {_declared ^ ADDRESSES.keys()}"
    )


class _Fields:
    """A record's fields as they are named: plain integers of a row, columns otherwise."""

    def __init__(self, record: Record) -> None:
        for name in record.layout():
            setattr(self, name, getattr(record, name))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _extent(rows: int, pitch: int, cols: int) -> int:
    """Words from the first of a rectangle to behind its last, none where it is empty."""
    return (rows - 1) * pitch + cols if rows and cols else 0
