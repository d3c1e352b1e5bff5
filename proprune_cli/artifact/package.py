"""The artifact: one compiled network in one file. `Artifact.pack` writes it, `load_artifact` reads and verifies it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.check import layout_faults
from proprune_cli.accel.program import HostStep, Program
from proprune_cli.artifact.arrays import decode_array, encode_array
from proprune_cli.artifact.host import HostSegment, host_segment
from proprune_cli.artifact.manifest import Layout, Manifest, Member, Source, Step, parse_manifest
from proprune_cli.artifact.models import check_segment, check_step
from proprune_cli.artifact.seal import REMEDY, seal, unseal
from proprune_cli.artifact.version import tool_version
from proprune_cli.errors import InputError
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.limits import ARTIFACT_BYTES
from proprune_cli.files.read import read_whole
from proprune_cli.files.write import write_whole
from proprune_cli.work.plan import Plan

MANIFEST = "manifest.json"
HOST = "host.onnx"


@dataclass(frozen=True)
class Golden:
    """One image and what the board must answer to it.

    Attributes:
        image: float32 [N, C, H, W], the N images of one start. codes_in: their int8 codes [C, N * H, W].
        codes_out: int8 codes [C, N * H, W] of each output, in the program's order.
    """

    image: NDArray[np.float32]
    codes_in: NDArray[np.int8]
    codes_out: tuple[NDArray[np.int8], ...]


@dataclass(frozen=True)
class Artifact:
    """A compiled network.

    Attributes:
        name: the network's name. board: the board it was planned for.
        source: the model it came from.
        program: what the engine runs. qdq: the same network as a QDQ ONNX model (serialised).
        golden: input and output for the check on the board.
        results: names of the network's outputs in their order: the program's, and the host segment's where one follows.
        host: what runs on the host after the engine, if anything.
        plan: the compiler's per-layer plan. report: the quantiser's report, plain JSON values.
        tool: version of proprune that compiled it.
    """

    name: str
    board: str
    source: Source
    program: Program
    qdq: bytes
    golden: Golden
    results: tuple[str, ...]
    plan: Plan
    report: dict[str, Any]
    host: HostSegment | None = None
    tool: str = field(default_factory=tool_version)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.program.image_shape

    def manifest(self) -> Manifest:
        """What `pack` writes as ``manifest.json``."""
        p = self.program
        return Manifest(
            tool=self.tool,
            name=self.name,
            board=self.board,
            array=p.array,
            digest=p.digest,
            source=self.source,
            program=Layout(len(p.image), p.size, p.layer_table, p.counters, p.layer_names),
            input=p.input,
            outputs=p.outputs,
            results=self.results,
            batch=p.batch,
            members={
                name: Member(len(content), hashlib.sha256(content).hexdigest())
                for name, content in self._members().items()
            },
            host_steps=tuple(
                Step(s.name, s.operators, s.after, s.inputs, s.output, _step_member(number))
                for number, s in enumerate(p.host_steps)
            ),
            preprocess=p.preprocess,
        )

    def pack(self) -> bytes:
        """The container's bytes; equal artifacts give equal bytes."""
        return seal({MANIFEST: self.manifest().encode(), **self._members()})

    def save(self, path: Path) -> int:
        """Write the container atomically; its length in bytes.

        Raises:
            InputError: the path cannot be written, or the disk is full.
        """
        content = self.pack()
        write_whole(path, content)
        return len(content)

    def _members(self) -> dict[str, bytes]:
        return {
            "program.bin": self.program.image.astype("<u8", copy=False).tobytes(),
            "qdq.onnx": self.qdq,
            "golden/image.npy": encode_array(self.golden.image),
            "golden/codes_in.npy": encode_array(self.golden.codes_in),
            **{_codes_member(number): encode_array(codes) for number, codes in enumerate(self.golden.codes_out)},
            "plan.json": _json(self.plan.to_json()),
            "report.json": _json(self.report),
            **{_step_member(number): step.model for number, step in enumerate(self.program.host_steps)},
            **({HOST: self.host.model} if self.host else {}),
        }


def _codes_member(number: int) -> str:
    return f"golden/codes_out/{number}.npy"


def _step_member(number: int) -> str:
    return f"host/{number}.onnx"


def load_artifact(path: Path) -> Artifact:
    """Read and verify an artifact: every bit is covered by the seal, every field by its type.

    Raises:
        InputError: no such file, not an artifact, damaged, or of a format this version does not read.
    """
    return unpack(read_whole(path, ARTIFACT_BYTES), str(path))


def unpack(content: bytes, where: str) -> Artifact:
    """Inverse of :meth:`Artifact.pack`. ``where`` names the file in messages.

    Raises:
        InputError: as `load_artifact`.
    """
    members = unseal(content, where)
    if MANIFEST not in members:
        raise InputError("this zip file has no manifest, so it is not an artifact", where=where, remedy=REMEDY)
    manifest = parse_manifest(members[MANIFEST], where)
    for name, member in manifest.members.items():
        if name not in members or hashlib.sha256(members[name]).hexdigest() != member.sha256:
            raise InputError(
                f"member {name!r} is missing or not the one the manifest names", where=where, remedy=REMEDY
            )
    try:
        artifact = _assemble(manifest, members, where)
    except (KeyError, ValueError, TypeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"a member of the artifact is malformed: {what}", where=where, remedy=REMEDY) from error
    _check_layout(artifact, manifest.program.image_words, where)
    return artifact


def _assemble(manifest: Manifest, members: dict[str, bytes], where: str) -> Artifact:
    layout = manifest.program
    if HOST in manifest.members:
        check_segment(members[HOST], {output.name: output.shape for output in manifest.outputs}, where)
    artifact = Artifact(
        name=manifest.name,
        board=manifest.board,
        source=manifest.source,
        program=Program(
            array=manifest.array,
            digest=manifest.digest,
            image=np.frombuffer(members["program.bin"], dtype="<u8"),
            size=layout.size,
            layer_table=layout.layer_table,
            counters=layout.counters,
            layer_names=layout.layer_names,
            input=manifest.input,
            outputs=manifest.outputs,
            host_steps=tuple(
                HostStep(s.name, s.operators, s.after, s.inputs, s.output, members[s.model])
                for s in manifest.host_steps
            ),
            batch=manifest.batch,
            preprocess=manifest.preprocess,
        ),
        qdq=members["qdq.onnx"],
        golden=Golden(
            image=_typed(members["golden/image.npy"], np.float32),
            codes_in=_typed(members["golden/codes_in.npy"], np.int8),
            codes_out=tuple(_typed(members[_codes_member(n)], np.int8) for n in range(len(manifest.outputs))),
        ),
        results=manifest.results,
        plan=Plan.from_json(parse_object(members["plan.json"])),
        report=parse_object(members["report.json"]),
        host=host_segment(members[HOST]) if HOST in manifest.members else None,
        tool=manifest.tool,
    )
    for step in artifact.program.host_steps:
        check_step(step, artifact.program.batch, where)
    return artifact


def _check_layout(artifact: Artifact, image_words: int, where: str) -> None:
    """Refuse a manifest whose numbers cannot belong together."""
    p = artifact.program
    shapes = [("input", p.input, artifact.golden.codes_in)]
    shapes += [("output", o.plane, codes) for o, codes in zip(p.outputs, artifact.golden.codes_out, strict=True)]
    faults = [
        f"the {side} tensor [{t.channels}, {t.height}, {t.width}] does not match its golden codes {list(codes.shape)}"
        for side, t, codes in shapes
        if codes.shape != (t.channels, t.height, t.width)
    ]
    faults += layout_faults(p)
    names = [output.name for output in p.outputs]
    if len(set(names)) != len(names) or not names:
        faults.append(f"the outputs' names are no names: {names}")
    made = {*names, *(artifact.host.outputs if artifact.host else ())}
    if not artifact.results or not made.issuperset(artifact.results):
        faults.append(f"of the network's outputs {list(artifact.results)} only {sorted(made)} are computed")
    if artifact.host and not set(names).issuperset(artifact.host.inputs):
        faults.append(f"the host segment reads {list(artifact.host.inputs)}, the program gives {names}")
    if len(p.image) != image_words:
        faults.append(f"the program has {len(p.image)} words where the manifest says {image_words}")
    if p.batch >= 1 and artifact.golden.image.shape != (p.batch, *artifact.input_shape):
        faults.append(f"the golden image has shape {list(artifact.golden.image.shape)}")
    faults += [
        f"output shape {list(o.shape)} does not hold the output tensor"
        for o in p.outputs
        if prod(o.shape) * p.batch != o.plane.channels * o.plane.height * o.plane.width
    ]
    if faults:
        raise InputError("the artifact contradicts itself: " + "; ".join(faults), where=where, remedy=REMEDY)


def _typed(content: bytes, dtype: type[np.generic]) -> NDArray[Any]:
    array = decode_array(content)
    if array.dtype != dtype:
        raise ValueError(f"an array of {array.dtype} where {np.dtype(dtype)} is expected")
    return array


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
