"""The artifact: equal contents give equal bytes, and no damage passes unnoticed."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.accel.array import load_array
from proprune_cli.accel.program import Plane, Program, ProgramOutput
from proprune_cli.artifact import Artifact, Golden, Source, check_contract, load_artifact, unpack
from proprune_cli.artifact.codes import checked_images, dequantise_output, quantise_images
from proprune_cli.artifact.seal import seal
from proprune_cli.errors import BoardError, InputError
from proprune_cli.work.layer import LayerWork, SourceOperator
from proprune_cli.work.plan import HostStepPlan, LayerPlan, Plan, PlanTotals, StreamPlan

PLAN = Plan(
    layers=(
        LayerPlan(
            work=LayerWork(
                "conv1", "conv", 3, 8, 1, (3, 3), (2, 2), (8, 8), (4, 4), 3456, taps=9, weight_bytes=1224,
                nonzero_macs=3000,
                sources=(
                    SourceOperator("Conv", "node_conv", "stem.conv", 3456, 3000), SourceOperator("Relu", "node_relu")
                ),
            ),
            unit="dense", twin=None, combine=None, lookup=None, residual=None, taps=9, taps_dropped=0,
            taps_with_own_offsets=0, taps_of_one_bit=0, positions_per_tap=5, tile=(4, 4), steps=1, segments=1,
            tilings_considered=1, cycles_of_next_best_tiling=None, chunks_per_step=1, cycles=300, iterations=72,
            memory_cycles=90, ddr_bytes=1300, bound="overhead", mac_utilisation=0.05, input_groups=1,
            input_groups_on_chip=0, output_on_chip=True, early_steps=0, issued_macs=3456, useful_macs=2990,
        ),
    ),
    streams=(StreamPlan(16, ("a", "b"), ("conv1",), 4, 3),),
    host_steps=(HostStepPlan("norm", ("LRN",), 1, ((8, 4, 4),), (8, 4, 4)),),
    totals=PlanTotals("loop model", 1, 300, 0.003, 100.0, 3456, 0.05, 1300, 2000, 3000, 3000, 3456, 2990),
    host=("Softmax",),
)  # fmt: skip


def make_artifact() -> Artifact:
    rng = np.random.default_rng(3)
    array = load_array("z7020-256")
    program = Program(
        array=array.name,
        digest=array.digest,
        image=rng.integers(0, 2**63, 40, dtype=np.uint64),
        size=120,
        layer_table=4,
        counters=40,
        layer_names=("conv1", "fc"),
        input=Plane(address=50, channels=3, height=4, width=5, exponent=-6),
        outputs=(ProgramOutput("y", Plane(address=80, channels=10, height=1, width=1, exponent=-3), (10,)),),
    )
    golden = Golden(
        image=rng.normal(size=(1, 3, 4, 5)).astype(np.float32),
        codes_in=rng.integers(-128, 127, (3, 4, 5), dtype=np.int8),
        codes_out=(rng.integers(-128, 127, (10, 1, 1), dtype=np.int8),),
    )
    return Artifact(
        name="tiny",
        board="pynq-z2",
        source=Source("tiny.onnx", "ab" * 32),
        program=program,
        qdq=b"not really ONNX, never parsed here",
        golden=golden,
        results=("y",),
        plan=PLAN,
        report={"limited": 0},
    )


def test_packing_twice_gives_the_same_bytes() -> None:
    assert make_artifact().pack() == make_artifact().pack()


def test_what_is_packed_comes_back() -> None:
    before = make_artifact()
    after = unpack(before.pack(), "tiny.ppr")
    assert after.manifest() == before.manifest()
    assert np.array_equal(after.program.image, before.program.image)
    assert np.array_equal(after.golden.image, before.golden.image)
    assert (after.qdq, after.plan, after.report) == (before.qdq, before.plan, before.report)
    assert after.pack() == before.pack()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    content = bytearray(PACKED)
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(InputError):
        unpack(bytes(content), "flipped.ppr")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_any_truncation_is_found(seed: int) -> None:
    with pytest.raises(InputError):
        unpack(PACKED[: seed % len(PACKED)], "cut.ppr")


def test_appended_bytes_are_found() -> None:
    with pytest.raises(InputError, match="cut short or something was added"):
        unpack(PACKED + b"\n", "long.ppr")


PACKED = make_artifact().pack()


def repacked(**changes: object) -> bytes:
    """A well-sealed container whose manifest was altered: damage that only the manifest's own checks can find."""
    with zipfile.ZipFile(io.BytesIO(PACKED)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    for path, value in changes.items():
        node = manifest
        *parents, last = path.split("__")
        for parent in parents:
            node = node[int(parent) if isinstance(node, list) else parent]
        if value is ...:
            del node[last]
        else:
            node[last] = value
    members["manifest.json"] = json.dumps(manifest).encode()
    return seal(members)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "proprune.artifact/9"}, "has format 'proprune.artifact/9'"),
        ({"schema": ...}, "has format None"),
        ({"array": ...}, "lacks array"),
        ({"surprise": 1}, "unknown surprise"),
        ({"program__size": "120"}, "program.size is not of type int"),
        ({"program__size": True}, "program.size is not of type int"),
        ({"program__layer_names": [1]}, "layer_names is not a list of str"),
        ({"program__image_words": 41}, "the program has 40 words"),
        ({"program__layer_table": 900}, "a table lies outside the program"),
        ({"input__channels": 4}, "does not match its golden codes"),
        ({"batch": 3}, "do not hold 3 images"),
        ({"batch": 0}, "do not hold 0 images"),
        ({"outputs__0__plane__address": 119}, "the output tensor lies outside the buffer"),
        ({"outputs__0__plane__address": -1}, "the output tensor lies outside the buffer"),
        ({"outputs__0__shape": [3]}, "does not hold the output tensor"),
        ({"members__qdq.onnx__sha256": "0" * 64}, "not the one the manifest names"),
        ({"members": []}, "members is not an object"),
    ],
)
def test_a_contradictory_manifest_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unpack(repacked(**changes), "odd.ppr")


def test_a_sealed_zip_without_manifest_is_refused() -> None:
    with pytest.raises(InputError, match="no manifest"):
        unpack(seal({"a.txt": b"x"}), "zip.ppr")


def test_a_plan_that_is_no_strict_json_is_refused() -> None:
    with zipfile.ZipFile(io.BytesIO(PACKED)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["plan.json"] = b'{"layers": [], "totals": {"cycles": Infinity}}'
    manifest = json.loads(members["manifest.json"])
    manifest["members"]["plan.json"]["sha256"] = hashlib.sha256(members["plan.json"]).hexdigest()
    members["manifest.json"] = json.dumps(manifest).encode()
    with pytest.raises(InputError, match="Infinity is no JSON"):
        unpack(seal(members), "odd.ppr")


def test_something_else_is_not_an_artifact() -> None:
    with pytest.raises(InputError, match="not a proprune artifact"):
        unpack(b"\x7fELF something", "a.out")


def test_another_contract_is_a_mismatch_that_shows_both_digests() -> None:
    artifact = make_artifact()
    other = dataclasses.replace(artifact, program=dataclasses.replace(artifact.program, digest="0" * 64))
    with pytest.raises(BoardError) as caught:
        check_contract(other, "other.ppr")
    assert "0" * 16 in caught.value.what
    assert load_array("z7020-256").digest[:16] in caught.value.what


def test_a_compiled_network_speaks_this_contract(artifact: Artifact) -> None:
    assert check_contract(artifact, "same.ppr").name == "z7020-256"


def test_an_unknown_array_is_a_mismatch() -> None:
    artifact = make_artifact()
    other = dataclasses.replace(artifact, program=dataclasses.replace(artifact.program, array="z9"))
    with pytest.raises(BoardError, match="'z9', which is not known here"):
        check_contract(other, "other.ppr")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "net.ppr"
    target.write_bytes(b"older")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no room to write"):
        make_artifact().save(target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_saving_into_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory does not exist"):
        make_artifact().save(tmp_path / "nowhere" / "net.ppr")


def test_loading_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_artifact(tmp_path / "net.ppr")


def test_quantising_rounds_half_to_even_and_clips() -> None:
    plane = Plane(0, 1, 1, 6, exponent=-1)
    x = np.array([0.25, 0.75, -0.25, 1000.0, -1000.0, 1.0], dtype=np.float32).reshape(1, 1, 1, 6)
    assert quantise_images(x, plane).reshape(-1).tolist() == [0, 2, 0, 127, -128, 2]


def test_dequantising_is_exact_and_takes_the_output_shape() -> None:
    codes = np.array([[-128, 1], [3, 127]], dtype=np.int8).reshape(2, 2, 1, 1)
    out = dequantise_output(codes, ProgramOutput("y", Plane(0, 2, 1, 1, exponent=-4), (2,)))
    assert out.dtype == np.float32
    assert out.tolist() == [[-8.0, 0.0625], [0.1875, 7.9375]]


@pytest.mark.parametrize(
    ("array", "raw", "message"),
    [
        (np.zeros((1, 3, 4, 5)), False, "float64, not float32"),
        (np.zeros((1, 3, 4, 5), np.int8), False, "int8, not float32"),
        (np.zeros((1, 3, 4, 5), np.float32), True, "float32, not int8"),
        (np.zeros((3, 4, 5), np.float32), False, r"\[3, 4, 5\], the network wants \[N, 3, 4, 5\]"),
        (np.zeros((1, 4, 5, 3), np.float32), False, "NCHW|wants"),
        (np.zeros((0, 3, 4, 5), np.float32), False, "no image"),
        (np.full((1, 3, 4, 5), np.nan, np.float32), False, "60 of 60 input values are NaN"),
    ],
)
def test_what_is_not_a_batch_of_images_is_refused(array: np.ndarray, raw: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_images(array, (3, 4, 5), "x.npy", raw=raw)
