"""Mutations of a sealed artifact: its program's records, tables and registers, and what its manifest says of them.

All are drawn from one seed. Values are those at which a check is wrong if it is wrong at all: 0, 1, the largest,
neighbours, another record's, another region's address, single bits. Half of the programs are mended afterwards in what
they say twice, so that they pass the checks of consistency and reach what lies behind.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.bitfield import Bits, Record
from proprune_cli.artifact.arrays import decode_array, encode_array
from proprune_cli.artifact.seal import seal

Words = NDArray[np.uint64]


LAYOUTS = {record: record.layout() for record in isa.RECORDS}


@dataclass(frozen=True)
class Place:
    """A record in the image."""

    record: type[Record]
    at: int

    def get(self, words: Words, name: str) -> int:
        p = LAYOUTS[self.record][name]
        value = int(words[self.at + p.word]) >> p.low & (1 << p.width) - 1
        return value - (1 << p.width) if p.signed and value >> p.width - 1 else value

    def set(self, words: Words, name: str, value: int) -> None:
        p = self.record.layout()[name]
        mask = ((1 << p.width) - 1) << p.low
        word = int(words[self.at + p.word])
        words[self.at + p.word] = np.uint64(word & ~mask | value << p.low & mask)


class Mutant:
    """One artifact while it is changed.

    Attributes:
        words: the image. manifest, plan: the JSON documents. members: the other files by name.
        notes: what was done, in words.
    """

    def __init__(self, content: bytes, seed: int) -> None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.manifest: dict[str, Any] = json.loads(self.members.pop("manifest.json"))
        self.plan: dict[str, Any] = json.loads(self.members["plan.json"])
        self.words: Words = np.frombuffer(self.members["program.bin"], dtype="<u8").copy()
        self.rng = np.random.default_rng(seed)
        self.notes: list[str] = []
        self.array: Array = load_array(self.manifest["array"])
        self.places = list(_places(self.words, self.manifest["program"], self.array))

    def some(self, record: type[Record]) -> Place:
        """A record of that kind."""
        found = [place for place in self.places if place.record is record]
        return found[self.rng.integers(len(found))]

    def address(self) -> int:
        """Where some region begins or ends, or near it."""
        layout, rng = self.manifest["program"], self.rng
        planes = [self.manifest["input"], *(o["plane"] for o in self.manifest["outputs"])]
        planes += [p for s in self.manifest.get("host_steps", []) for p in (*s["inputs"], s["output"])]
        starts = [0, len(self.words), layout["size"], layout["layer_table"], layout["counters"]]
        starts += [layout["counters"] + len(layout["layer_names"]) * isa.LayerCounters.WORDS]
        starts += [p["address"] for p in planes]
        starts += [place.at for place in self.places if place.record is not isa.TapHeader]
        scratch = self.array.scratch_words
        starts += [isa.ON_CHIP, isa.ON_CHIP + scratch, isa.ON_CHIP - 1, (1 << 32) - 1, 1 << 30]
        return int(starts[rng.integers(len(starts))]) + int(rng.choice([0, 0, 0, 1, -1, 8, -8]))

    def value(self, p: Bits, now: int) -> int:
        """What to put into a field in place of ``now``; only its low bits will count."""
        low, high = p.bounds
        rng = self.rng
        pick: list[Callable[[], int]] = [
            lambda: int(rng.choice([0, 1, 2, low, high, high - 1, high // 2, 1 << p.width - 1])),
            lambda: now + int(rng.choice([1, -1, 2, -2, 8, -8])),
            lambda: now ^ 1 << int(rng.integers(p.width)),
            lambda: int(rng.integers(0, 1 << p.width)),
            lambda: now * int(rng.choice([2, 3, 16, 256])),
            lambda: self.address(),
        ]
        return pick[rng.integers(len(pick))]()

    # Mutations

    def field(self) -> None:
        """A field of a record gets another value, or another record's."""
        kinds = [isa.LayerDescriptor] * 4 + [isa.StepDescriptor] * 4 + [isa.BlockHeader] * 2 + [isa.TapHeader]
        record = kinds[self.rng.integers(len(kinds))]
        place = self.some(record)
        names = list(record.layout())
        name = names[self.rng.integers(len(names))]
        if self.rng.random() < 0.2:
            value = self.some(record).get(self.words, name)
        elif self.rng.random() < 0.15:
            value = place.get(self.words, names[self.rng.integers(len(names))])
        else:
            value = self.value(record.layout()[name], place.get(self.words, name))
        place.set(self.words, name, value)
        self.notes.append(f"{record.__name__} at {place.at}: {name} = {value}")

    def endless(self) -> None:
        """The loops of a step get the longest trip counts that agree with one another."""
        place = self.some(isa.StepDescriptor)
        taps = int(self.rng.choice([2**32 - 1, 2**31, 2**24, 65536]))
        beats = int(self.rng.choice([place.get(self.words, "beats"), 1, 65535, 512]))
        for name, value in (("taps", taps), ("beats", beats), ("iterations", min(taps * beats, 2**32 - 1))):
            place.set(self.words, name, value)
        self.notes.append(f"step at {place.at}: {taps} taps of {beats} beats")

    def tile(self) -> None:
        """A step's tile or a layer's geometry becomes large or overlaps itself, several fields at once."""
        layer, step = self.some(isa.LayerDescriptor), self.some(isa.StepDescriptor)
        names = ["pitch", "chunk_cells", "in_pitch", "out_pitch", "out_step_y", "out_step_x", "out_plane", "in_height"]
        for name in self.rng.permutation(names)[: self.rng.integers(1, 4)].tolist():
            value = int(self.rng.choice([0, 1, 2, 0xFFFF, layer.get(self.words, name)]))
            layer.set(self.words, name, value)
            self.notes.append(f"layer at {layer.at}: {name} = {value}")
        names = ["rows", "cols", "groups", "tile_height", "tile_width", "y0", "x0", "oy0", "ox0", "first_group"]
        for name in self.rng.permutation(names)[: self.rng.integers(1, 4)].tolist():
            value = int(self.rng.choice([0, 1, 2, 0x7FFF, 0x8000, 0xFFFF]))
            step.set(self.words, name, value)
            self.notes.append(f"step at {step.at}: {name} = {value}")

    def point(self) -> None:
        """An address of a record becomes that of another region."""
        pairs = [(r, n) for r in isa.RECORDS for n, p in r.layout().items() if p.address]
        record, name = pairs[self.rng.integers(len(pairs))]
        place, value = self.some(record), self.address()
        place.set(self.words, name, value)
        self.notes.append(f"{record.__name__} at {place.at}: {name} = {value}")

    def plane_of_table(self) -> None:
        """An entry of a group or residual table becomes the address of another region."""
        layer = self.some(isa.LayerDescriptor)
        table = layer.get(self.words, str(self.rng.choice(["group_table", "residual_table"])))
        at, value = table + int(self.rng.integers(4)), self.address() % 2**64
        if at < len(self.words):
            self.words[at] = np.uint64(value)
        self.notes.append(f"table entry {at} = {value}")

    def word(self) -> None:
        """Bits of any word: weights, biases, multipliers, patterns, tables of codes."""
        at = int(self.rng.integers(len(self.words)))
        bits = 1 << int(self.rng.integers(64)) if self.rng.random() < 0.5 else int(self.rng.integers(1, 2**63))
        self.words[at] ^= np.uint64(bits)
        self.notes.append(f"word {at} ^= {bits:#x}")

    def copied(self) -> None:
        """A stretch of the image over another."""
        length = int(self.rng.integers(1, min(40, len(self.words))))
        source, target = (int(self.rng.integers(len(self.words) - length + 1)) for _ in range(2))
        self.words[target : target + length] = self.words[source : source + length].copy()
        self.notes.append(f"words {source} to {target}, {length} of them")

    def swapped(self) -> None:
        """Two records of a kind change places."""
        record = (isa.LayerDescriptor, isa.StepDescriptor, isa.TapHeader)[self.rng.integers(3)]
        a, b = self.some(record).at, self.some(record).at
        one, other = self.words[a : a + record.WORDS].copy(), self.words[b : b + record.WORDS].copy()
        self.words[a : a + record.WORDS], self.words[b : b + record.WORDS] = other, one
        self.notes.append(f"{record.__name__} at {a} and {b} change places")

    def register(self) -> None:
        """What the manifest gives the registers and the driver."""
        layout = self.manifest["program"]
        name = str(self.rng.choice(["layer_table", "counters", "size", "image_words", "batch", "layer_names"]))
        if name == "batch":
            self.manifest["batch"] = int(self.rng.choice([0, -1, 1, 2, 3, 10, 2**31, 2**63]))
        elif name == "layer_names":
            given = layout[name] or ["name"]
            count = int(self.rng.choice([0, 1, len(given) + 1, len(given) * 2, 5000]))
            layout[name] = (given * (count // len(given) + 1))[:count]
        else:
            choices = [self.address(), -1, -(2**63), 2**31, 2**32 - 1, 2**60, 2**64, 10**30, 2**27, layout[name] + 1]
            layout[name] = int(choices[self.rng.integers(len(choices))])
        self.notes.append(f"manifest: {name} = {str(layout.get(name, self.manifest['batch']))[:60]}")

    def plane(self) -> None:
        """A tensor's place, size or scale, in the manifest; its golden codes may follow."""
        owners: list[tuple[str, dict[str, Any]]] = [("input", self.manifest["input"])]
        owners += [(f"output {n}", o["plane"]) for n, o in enumerate(self.manifest["outputs"])]
        for number, step in enumerate(self.manifest.get("host_steps", [])):
            owners += [(f"host {number}", p) for p in (*step["inputs"], step["output"])]
        name, plane = owners[self.rng.integers(len(owners))]
        key = str(self.rng.choice(["address", "address", "channels", "height", "width", "exponent"]))
        choices = [self.address(), 0, -1, 1, 2**31, 2**63, -(2**70), plane[key] + 1, plane[key] * 2, 126, -127, 65535]
        plane[key] = int(choices[self.rng.integers(len(choices))])
        self.notes.append(f"manifest: {key} of {name} = {plane[key]}")
        if name == "input" and self.rng.random() < 0.7:
            self._golden("golden/codes_in.npy", plane)
            image = [self.manifest["batch"], plane["channels"], plane["height"] // max(1, self.manifest["batch"])]
            image.append(plane["width"])
            if min(image) > 0 and np.prod([float(n) for n in image]) < 1e6:
                zeros = np.zeros(image, dtype=np.float32)
                self.members["golden/image.npy"] = encode_array(zeros)
        elif name.startswith("output") and self.rng.random() < 0.7:
            self._golden(f"golden/codes_out/{name[7:]}.npy", plane)

    def _golden(self, member: str, plane: dict[str, Any]) -> None:
        shape = [plane["channels"], plane["height"], plane["width"]]
        if min(shape) >= 0 and max(shape) < 1e6 and np.prod([float(n) for n in shape]) < 1e6:
            self.members[member] = encode_array(np.resize(decode_array(self.members[member]), shape).astype(np.int8))

    def host(self) -> None:
        """Where a host step stands."""
        steps = self.manifest.get("host_steps", [])
        if not steps:
            self.register()
            return
        step = steps[self.rng.integers(len(steps))]
        step["after"] = int(self.rng.choice([-1, 0, 1, 2, 3, 4, 1000, 2**62]))
        if self.rng.random() < 0.3:
            step["inputs"] = step["inputs"] * int(self.rng.integers(0, 3))
        self.notes.append(f"manifest: host step after {step['after']}, {len(step['inputs'])} inputs")

    def planned(self) -> None:
        """What the plan says of a layer's work."""
        layers = self.plan["layers"]
        layer = layers[self.rng.integers(len(layers))]
        name = str(self.rng.choice(["iterations", "steps", "macs", "cycles"]))
        values: list[Any] = [0, -1, 2**31, 2**32 - 1, 2**70, "9", None, 1.5, 1, 7]
        layer[name] = values[self.rng.integers(len(values))]
        self.notes.append(f"plan: {name} = {layer[name]!r}")

    # What is said twice

    def mend(self) -> None:
        """Make steps say what their weight streams have, and the plan what the steps say."""
        for place in [p for p in self.places if p.record is isa.StepDescriptor]:
            _mend_step(self.words, place, self.array)
        table = self.manifest["program"]["layer_table"]
        for number, row in enumerate(self.plan["layers"]):
            at = table + number * isa.LayerDescriptor.WORDS
            if not 0 <= at <= len(self.words) - isa.LayerDescriptor.WORDS:
                return
            layer = Place(isa.LayerDescriptor, at)
            first, count = layer.get(self.words, "step_table"), layer.get(self.words, "step_count")
            if first + count * isa.StepDescriptor.WORDS > len(self.words):
                return
            steps = isa.StepDescriptor.decode(self.words[first : first + count * isa.StepDescriptor.WORDS].copy())
            row["steps"], row["iterations"] = count, int(np.asarray(steps.iterations).sum())
        self.notes.append("mended")

    def registers(self) -> tuple[int, int, int]:
        """What an engine would be started with: layer table, steps of all layers, counters; 32 bits each."""
        layout = self.manifest["program"]
        table, steps = layout["layer_table"] % 2**32, 0
        for number in range(min(len(layout["layer_names"]), 1000)):
            at = table + number * isa.LayerDescriptor.WORDS
            if at + isa.LayerDescriptor.WORDS <= len(self.words):
                steps += Place(isa.LayerDescriptor, at).get(self.words, "step_count")
        return table, steps, layout["counters"] % 2**32

    def sealed(self) -> bytes:
        """The container, every checksum right."""
        members = {**self.members, "program.bin": self.words.tobytes(), "plan.json": json.dumps(self.plan).encode()}
        self.manifest["members"] = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
        }
        return seal({"manifest.json": json.dumps(self.manifest).encode(), **members})


MUTATIONS: tuple[Callable[[Mutant], None], ...] = (
    *[Mutant.field] * 8, *[Mutant.point] * 4, *[Mutant.tile] * 3, *[Mutant.plane] * 3, *[Mutant.register] * 2,
    Mutant.endless, Mutant.plane_of_table, Mutant.plane_of_table, Mutant.word, Mutant.copied, Mutant.swapped,
    Mutant.host, Mutant.planned,
)  # fmt: skip


def mutant(content: bytes, seed: int) -> Mutant:
    """An artifact that was mutated."""
    m = Mutant(content, seed)
    for _ in range(int(m.rng.choice([1, 1, 1, 2, 2, 3, 5, 8]))):
        MUTATIONS[m.rng.integers(len(MUTATIONS))](m)
    if m.rng.random() < 0.5:
        m.mend()
    return m


def _places(words: Words, layout: dict[str, Any], array: Array) -> Iterator[Place]:
    """Every record of a valid image."""
    for number in range(len(layout["layer_names"])):
        layer = Place(isa.LayerDescriptor, layout["layer_table"] + number * isa.LayerDescriptor.WORDS)
        yield layer
        for index in range(layer.get(words, "step_count")):
            step = Place(isa.StepDescriptor, layer.get(words, "step_table") + index * isa.StepDescriptor.WORDS)
            yield step
            yield from _stream(words, step.get(words, "weights"), step.get(words, "weight_words"), array)


def _stream(words: Words, at: int, count: int, array: Array) -> Iterator[Place]:
    """The heads of blocks and taps of a stream, as far as it goes."""
    end = min(at + count, len(words))
    while at < end:
        block = Place(isa.BlockHeader, at)
        yield block
        taps = block.get(words, "taps")
        at += array.block_words
        for _ in range(taps):
            if at >= end:
                return
            tap = Place(isa.TapHeader, at)
            yield tap
            with_weights = array.binary_tap_words if tap.get(words, "binary") else array.tap_words
            at += array.reuse_tap_words if tap.get(words, "reuse") else with_weights


def _mend_step(words: Words, step: Place, array: Array) -> None:
    heads = list(_stream(words, step.get(words, "weights"), step.get(words, "weight_words"), array))
    blocks = [p for p in heads if p.record is isa.BlockHeader]
    emits = [p for p in blocks if p.get(words, "emit")]
    taps, pixels = len(heads) - len(blocks), step.get(words, "tile_height") * step.get(words, "tile_width")
    beats = max(-(-pixels // array.px), array.min_beats)
    found = {
        "taps": taps, "beats": beats, "iterations": taps * beats, "blocks": len(blocks), "emit_blocks": len(emits),
        "emit_groups": sum(p.get(words, "groups") for p in emits),
    }  # fmt: skip
    for name, value in found.items():
        step.set(words, name, value)
