"""``manifest.json``: what an artifact says about itself, read strictly and without guessing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, cast

from proprune_cli.accel.program import Plane, ProgramOutput
from proprune_cli.errors import InputError
from proprune_cli.files.json_text import parse_json
from proprune_cli.work.preprocess import Preprocess

SCHEMA = "proprune.artifact/2"

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """The model the artifact was compiled from.

    Attributes:
        name, sha256: of the ONNX file; the hash (hex) of its bytes.
        network: "pruned", "dense" or "thin" where the file is of a run; left out where it is not.
    """

    name: str
    sha256: str
    network: str | None = None


@dataclass(frozen=True)
class Layout:
    """Where the parts of the program lie; lengths and addresses in 64-bit words."""

    image_words: int
    size: int
    layer_table: int
    counters: int
    layer_names: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A step of the host between layers; ``model`` names the member that holds its ONNX model."""

    name: str
    operators: tuple[str, ...]
    after: int
    inputs: tuple[Plane, ...]
    output: Plane
    model: str


@dataclass(frozen=True)
class Member:
    """A file in the container; ``sha256`` in hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The manifest.

    Attributes:
        tool: version of proprune that compiled it.
        name: the network's name.
        board: the board it was planned for; it runs wherever array and digest agree.
        array, digest: the array's name and its contract digest (SHA-256, hex).
        input: the feature tensor in DDR, with its exponent.
        outputs: the engine's, each with its tensor and the ONNX output's shape without the batch.
        results: names of the network's outputs in their order: the engine's and those of the host's end of it.
        members: every other file of the container.
        batch: images per start; input and outputs hold them below one another.
        host_steps: what the host computes between the layers, in execution order; left out where there is nothing.
        preprocess: what is done to an image before it is quantised into ``input``: x * scale + shift for each channel;
            left out where nothing is.
    """

    tool: str
    name: str
    board: str
    array: str
    digest: str
    source: Source
    program: Layout
    input: Plane
    outputs: tuple[ProgramOutput, ...]
    results: tuple[str, ...]
    members: dict[str, Member]
    batch: int
    host_steps: tuple[Step, ...] = ()
    preprocess: Preprocess | None = None

    def to_json(self) -> dict[str, Any]:
        """The document, plain JSON values."""
        document: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        if not self.host_steps:
            del document["host_steps"]
        if self.preprocess is None:
            del document["preprocess"]
        if self.source.network is None:
            del document["source"]["network"]
        return document

    def encode(self) -> bytes:
        """Canonical bytes of the document."""
        return (json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n").encode()


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Inverse of :meth:`Manifest.encode`.

    Raises:
        InputError: not JSON, of another version, or a field is missing or of the wrong type.
    """
    try:
        document: object = parse_json(content)
    except ValueError as error:
        raise _fault(f"it is not JSON ({error})", where) from error
    raw = _record(document, "the document", where)
    schema = raw.pop("schema", None)
    if schema != SCHEMA:
        raise InputError(
            f"the artifact has format {schema!r}, this proprune reads {SCHEMA!r}",
            where=where,
            remedy="compile the network again with this version, or use the version that wrote it",
        )
    members = {
        str(name): _build(Member, body, f"members.{name}", where)
        for name, body in _record(raw.get("members"), "members", where).items()
    }
    plane_in = _build(Plane, raw.get("input"), "input", where)
    parts = {
        "source": _build(Source, {"network": None, **_record(raw.get("source"), "source", where)}, "source", where),
        "program": _build(Layout, raw.get("program"), "program", where),
        "input": plane_in,
        "outputs": tuple(
            _output(body, f"outputs[{number}]", where)
            for number, body in enumerate(_list(raw.get("outputs"), "outputs", where))
        ),
        "members": members,
        "host_steps": tuple(
            _step(body, f"host_steps[{number}]", where)
            for number, body in enumerate(_list(raw.get("host_steps", []), "host_steps", where))
        ),
        "preprocess": _preprocess(raw.get("preprocess"), plane_in.channels, where),
    }
    return _build(Manifest, {**raw, **parts}, "the document", where)


def _fault(what: str, where: str) -> InputError:
    return InputError(f"the artifact's manifest is malformed: {what}", where=where, remedy="compile the network again")


def _preprocess(value: object, channels: int, where: str) -> Preprocess | None:
    if value is None:
        return None
    found = _build(Preprocess, value, "preprocess", where)
    for name, numbers in (("scale", found.scale), ("shift", found.shift)):
        if len(numbers) != channels or not all(math.isfinite(number) for number in numbers):
            raise _fault(f"preprocess.{name} is not {channels} finite numbers", where)
    return found


def _output(value: object, name: str, where: str) -> ProgramOutput:
    raw = _record(value, name, where)
    plane = _build(Plane, raw.get("plane"), f"{name}.plane", where)
    return _build(ProgramOutput, {**raw, "plane": plane}, name, where)


def _step(value: object, name: str, where: str) -> Step:
    raw = _record(value, name, where)
    planes = _list(raw.get("inputs"), f"{name}.inputs", where)
    inputs = tuple(_build(Plane, plane, f"{name}.inputs[{i}]", where) for i, plane in enumerate(planes))
    output = _build(Plane, raw.get("output"), f"{name}.output", where)
    return _build(Step, {**raw, "inputs": inputs, "output": output}, name, where)


def _list(value: object, name: str, where: str) -> list[object]:
    if not isinstance(value, list):
        raise _fault(f"{name} is not a list", where)
    return cast("list[object]", value)


def _record(value: object, name: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fault(f"{name} is not an object", where)
    return dict(cast("dict[str, Any]", value))


def _build(kind: type[T], value: object, name: str, where: str) -> T:
    raw = _record(value, name, where)
    declared = {f.name: str(f.type) for f in fields(cast("Any", kind))}
    if missing := declared.keys() - raw.keys():
        raise _fault(f"{name} lacks {', '.join(sorted(missing))}", where)
    if unknown := raw.keys() - declared.keys():
        raise _fault(f"{name} has the unknown {', '.join(sorted(unknown))}", where)
    return kind(
        **{field: _typed(raw[field], annotation, f"{name}.{field}", where) for field, annotation in declared.items()}
    )


def _typed(value: object, annotation: str, name: str, where: str) -> object:
    """``value`` as the annotation asks; a list becomes a tuple."""
    if annotation in ("tuple[str, ...]", "tuple[int, ...]", "tuple[float, ...]"):
        item = {"str": str, "int": int, "float": float}[annotation[len("tuple[") :].partition(",")[0]]
        if not isinstance(value, list | tuple):
            raise _fault(f"{name} is not a list", where)
        items = tuple(cast("list[object]", value))
        if not all(type(i) is item for i in items):
            raise _fault(f"{name} is not a list of {item.__name__}", where)
        return items
    if annotation == "str | None" and value is None:
        return None
    scalar = {"int": int, "str": str, "str | None": str}.get(annotation)
    if scalar is not None and type(value) is not scalar:
        raise _fault(f"{name} is not of type {annotation}", where)
    return value
