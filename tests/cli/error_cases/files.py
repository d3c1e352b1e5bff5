"""Files that are empty, broken, endless, nested, or that ask for more memory than there is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from proprune_cli.accel import isa
from proprune_cli.artifact import load_artifact
from proprune_cli.artifact.seal import seal
from tests.cli.conftest import Files, tiny_model
from tests.cli.error_cases.registry import Arguments, case

# Arrays


def _images(tiny: Files, content: bytes) -> Arguments:
    Path("x.npy").write_bytes(content)
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy", "--board", "cpu"]


def _npy(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@case(1)
def images_file_empty(tiny: Files) -> Arguments:
    return _images(tiny, b"")


@case(1)
def images_header_broken(tiny: Files) -> Arguments:
    return _images(tiny, _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, "))


@case(1)
def images_of_a_terabyte(tiny: Files) -> Arguments:
    return _images(tiny, _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 1, 16, 16), }"))


@case(1)
def images_without_end(tiny: Files) -> Arguments:
    return ["run", str(tiny.artifact), "-i", "/dev/zero", "-o", "y.npy", "--board", "cpu"]


@case(1)
def archive_that_unpacks_to_much(_: Files) -> Arguments:
    with zipfile.ZipFile("set.npz", "w") as archive:
        archive.writestr("images.npy", b"0" * 100)
    content = bytearray(Path("set.npz").read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 3 << 30)  # the directory's word for the unpacked size
    Path("set.npz").write_bytes(content)
    return ["prune", "--model", "resnet8", "--data", "set.npz", "--out", "run"]


@case(1)
def picture_of_too_many_pixels(_: Files) -> Arguments:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 0, 0, 0, 0)
    for name in ("a", "b"):
        Path("set", name).mkdir(parents=True)
        picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))
        Path("set", name, "1.png").write_bytes(picture + chunk(b"IEND", b""))
    return ["prune", "--model", "resnet8", "--data", "set?channels=1", "--out", "run"]


# Run files


@case(1)
def run_file_nested(_: Files) -> Arguments:
    Path("run.yaml").write_text("version: 1\nprune: " + "[" * 5000 + "]" * 5000)
    return ["prune", "--config", "run.yaml", "--out", "run"]


@case(1)
def run_file_of_a_billion_values(_: Files) -> Arguments:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    Path("run.yaml").write_text("\n".join(lines))
    return ["prune", "--config", "run.yaml", "--out", "run"]


# Artifacts with a seal that is right


def _sealed(tiny: Files, **members: bytes) -> None:
    with zipfile.ZipFile(tiny.artifact) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    found |= {name.replace("__", "."): content for name, content in members.items()}
    if "manifest__json" not in members:
        manifest = json.loads(found["manifest.json"])
        for name, entry in manifest["members"].items():
            entry |= {"bytes": len(found[name]), "sha256": hashlib.sha256(found[name]).hexdigest()}
        found["manifest.json"] = json.dumps(manifest).encode()
    Path("net.ppr").write_bytes(seal(found))


@case(1)
def artifact_with_nested_json(tiny: Files) -> Arguments:
    _sealed(tiny, manifest__json=b"[" * 100_000)
    return ["inspect", "net.ppr"]


@case(1)
def artifact_with_an_empty_plan(tiny: Files) -> Arguments:
    _sealed(tiny, plan__json=b"{}")
    return ["inspect", "net.ppr", "--plan"]


@case(1)
def artifact_with_an_empty_report(tiny: Files) -> Arguments:
    _sealed(tiny, report__json=b"{}")
    return ["inspect", "net.ppr"]


@case(1)
def artifact_with_a_foreign_model(tiny: Files) -> Arguments:
    _sealed(tiny, qdq__onnx=tiny_model(size=16).SerializeToString())
    return ["bench", "net.ppr", "--board", "cpu"]


def _program(tiny: Files, **changes: Any) -> None:
    network = load_artifact(tiny.artifact)
    dataclasses.replace(network, program=dataclasses.replace(network.program, **changes)).save(Path("net.ppr"))


@case(1)
def artifact_with_a_scale_beyond_numbers(tiny: Files) -> Arguments:
    program = load_artifact(tiny.artifact).program
    _program(tiny, input=dataclasses.replace(program.input, exponent=2**31))
    return ["run", "net.ppr", "-i", str(tiny.images), "-o", "y.npy", "--board", "interpreter"]


@case(1)
def artifact_with_its_layer_table_at_the_end(tiny: Files) -> Arguments:
    _program(tiny, layer_table=len(load_artifact(tiny.artifact).program.image))
    return ["bench", "net.ppr"]


def _first_layer(tiny: Files, **changes: int) -> None:
    program = load_artifact(tiny.artifact).program
    layers = program.layers()
    changed = {name: np.array([value, *np.asarray(getattr(layers, name))[1:]]) for name, value in changes.items()}
    words = dataclasses.replace(layers, **changed).encode().reshape(-1)
    image = program.image.copy()
    image[program.layer_table : program.layer_table + len(words)] = words
    assert len(words) == program.layer_count * isa.LayerDescriptor.WORDS
    _program(tiny, image=image)


@case(1)
def artifact_with_a_mode_that_there_is_not(tiny: Files) -> Arguments:
    _first_layer(tiny, mode=3)
    return ["inspect", "net.ppr", "--disassemble"]


@case(1)
def artifact_with_a_layer_of_no_steps(tiny: Files) -> Arguments:
    _first_layer(tiny, step_count=0)
    return ["bench", "net.ppr"]


# Models


def _compiled(tiny: Files, model: onnx.ModelProto) -> Arguments:
    Path("net.onnx").write_bytes(model.SerializeToString())
    return ["compile", "net.onnx", "--calibration", str(tiny.images), "-o", "net.ppr"]


@case(1)
def model_with_a_function_that_calls_itself(tiny: Files) -> Arguments:
    model = tiny_model()
    opsets = [helper.make_opsetid("own", 1)]
    inner = helper.make_node("again", ["a"], ["b"], domain="own")
    model.functions.append(helper.make_function("own", "again", ["a"], ["b"], [inner], opsets))
    model.opset_import.extend(opsets)
    return _compiled(tiny, model)


@case(1)
def model_with_weights_elsewhere(tiny: Files) -> Arguments:
    model = tiny_model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return _compiled(tiny, model)


@case(1)
def model_with_weights_that_are_not_there(tiny: Files) -> Arguments:
    model = tiny_model()
    model.graph.initializer[0].dims[0] = 2**40
    return _compiled(tiny, model)


# Outputs


@case(1)
def output_is_a_device(tiny: Files) -> Arguments:
    return ["run", str(tiny.artifact), "-i", str(tiny.images), "-o", "/dev/zero", "--board", "cpu"]


@case(1)
def output_is_full(tiny: Files) -> Arguments:
    return ["run", str(tiny.artifact), "-i", str(tiny.images), "-o", "/dev/full", "--board", "cpu"]


@case(1)
def output_below_a_file(tiny: Files) -> Arguments:
    Path("a").write_text("a file")
    return ["run", str(tiny.artifact), "-i", str(tiny.images), "-o", "a/y.npy", "--board", "cpu"]
