"""Files that are read: numbers as numpy has them, and nothing that hangs, runs or fills the memory."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from proprune_cli.errors import InputError
from proprune_cli.files import limits
from proprune_cli.files.arrays import parse_npy, read_npy, read_npz
from proprune_cli.files.json_text import parse_json
from proprune_cli.files.read import read_whole
from proprune_cli.files.yaml_text import read_yaml
from tests.fuzzing.mutate_bytes import mutate_npy

_DTYPES = ["<f4", "<f8", "|i1", "|u1", "<i8", "|b1", ">f4", "<c8", "<U3"]


@given(
    hnp.arrays(st.sampled_from(_DTYPES), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)), st.data()
)
@settings(max_examples=60, deadline=None)
def test_arrays_are_what_numpy_saved(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        array = np.asfortranarray(array)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=data.draw(st.sampled_from([(1, 0), (2, 0), (3, 0)])))
    found, wanted = parse_npy(stream.getvalue()), np.load(io.BytesIO(stream.getvalue()))
    assert found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def test_changed_arrays_are_refused_or_are_what_numpy_reads() -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8))
    refused = 0
    for seed in range(400):
        content = mutate_npy(stream.getvalue(), random.Random(seed))
        try:
            found = parse_npy(content)
        except (ValueError, InputError):
            refused += 1
            continue
        wanted = np.load(io.BytesIO(content), allow_pickle=False)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()
    assert 100 < refused < 400


def test_an_archive_is_what_numpy_saved_and_a_name_may_be_anything(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6).reshape(2, 3), "heads/scale": np.zeros((0, 4), np.float32)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


@pytest.mark.parametrize("declared", [3 << 30, 2**32 - 1])
def test_an_archive_is_judged_by_the_size_it_declares(tmp_path: Path, declared: int) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(1000))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = declared.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises((InputError, ValueError)):
        read_npz(path)


def test_an_archive_of_pickles_or_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.asarray([{}], dtype=object))
    with pytest.raises(ValueError, match="objects"):
        read_npz(path)
    np.savez(path, x=np.zeros(1000))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"")
    with pytest.raises(ValueError, match="empty"):
        read_npz(path)


def test_a_pipe_is_read_as_far_as_its_array_goes(tmp_path: Path) -> None:
    """A pipe has no end of its own; where it holds less than its header says, it was cut short."""
    array = np.arange(70_000, dtype=np.float32)
    stream = io.BytesIO()
    np.save(stream, array)
    for content, good in ((stream.getvalue() + b"\0" * 99, True), (stream.getvalue()[:-1], False)):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            try:
                os.write(writing, content[:100_000])
                os.write(writing, content[100_000:])
            finally:
                os._exit(0)
        os.close(writing)
        if good:
            assert np.array_equal(read_npy(Path(f"/dev/fd/{reading}"), pipes=True), array)
        else:
            with pytest.raises(InputError, match="cut short"):
                read_npy(Path(f"/dev/fd/{reading}"), pipes=True)
        os.close(reading)
        os.wait()


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(InputError):
            read_whole(path)
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert read_whole(tmp_path / "long", 100) == b"x" * 100
    with pytest.raises(InputError, match="at most"):
        read_whole(tmp_path / "long", 99)


@pytest.mark.parametrize(
    "text", [b"[" * 10**6, b'{"a":' * 10**6, b"NaN", b"[1e999]", b"-Infinity", b"\xff", b"", b"9" * 10**5]
)
def test_json_that_is_none_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _containers, max_leaves=20))
@settings(max_examples=25, deadline=None)
def test_json_gives_back_what_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def _aliased(rng: random.Random) -> tuple[str, int, int]:
    """A YAML text of lists with aliases, and how many values and how deep it is with all of them written out."""
    sizes: list[tuple[int, int]] = []
    lines: list[str] = []
    for number in range(rng.randrange(1, 12)):
        items, size, depth = [], 1, 1
        for _ in range(rng.randrange(1, 12)):
            if sizes and rng.random() < 0.8:
                at = rng.randrange(len(sizes))
                items.append(f"*a{at}")
                size, depth = size + sizes[at][0], max(depth, sizes[at][1] + 1)
            else:
                items.append("x")
                size, depth = size + 1, max(depth, 2)
        sizes.append((size, depth))
        lines.append(f"k{number}: &a{number} [{', '.join(items)}]")
    return "\n".join(lines), 1 + sum(s + 1 for s, _ in sizes), 1 + max(d for _, d in sizes)


def _written_out(value: Any) -> int:
    """Values of a document, counted one by one; the keys of mappings, too."""
    if isinstance(value, dict):
        return 1 + sum(1 + _written_out(v) for v in value.values())
    return 1 + sum(map(_written_out, value)) if isinstance(value, list) else 1


def test_yaml_is_measured_with_its_aliases_written_out(tmp_path: Path) -> None:
    refused = taken = 0
    for seed in range(120):
        text, size, depth = _aliased(random.Random(seed))
        (tmp_path / "f.yaml").write_text(text)
        if size > limits.YAML_NODES or depth > limits.YAML_DEPTH:
            refused += 1
            with pytest.raises(yaml.YAMLError):
                read_yaml(tmp_path / "f.yaml")
        else:
            taken += 1
            value = read_yaml(tmp_path / "f.yaml")
            assert value == yaml.safe_load(text) and _written_out(value) == size
    assert refused > 5 and taken > 5


@pytest.mark.parametrize(
    "text", ["&a [*a]", "a: *b", "[" * 10**5, "x: 2024-13-45", "? [a]\n: b", "!!python/name:os.system x", "\t"]
)
def test_other_yaml_is_a_yaml_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(yaml.YAMLError):
        read_yaml(tmp_path / "f.yaml")
