"""Data sets as their authors ship them; damaged files are refused with the file's name and a remedy."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from proprune_cli.data.augment import Augment
from proprune_cli.data.batches import Batches
from proprune_cli.data.load import load_data
from proprune_cli.errors import InputError

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


def write_mnist(root: Path, packed: bool = True) -> None:
    root.mkdir(exist_ok=True)
    for part, count in (("train", 60), ("t10k", 20)):
        for kind, array in (
            ("images-idx3-ubyte", RNG.integers(0, 256, (count, 6, 5), dtype=np.uint8)),
            ("labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8)),
        ):
            if packed:
                (root / f"{part}-{kind}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (root / f"{part}-{kind}").write_bytes(idx(array))


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    write_mnist(tmp_path / "mnist", packed)
    data = load_data("mnist", data_dir=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 20)
    assert data.train.images.shape[1:] == (1, 6, 5)
    assert set(data.validation.labels.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda b: b[:-3], "its header promises"),
        (lambda b: b"\x00\x00\x0d\x03" + b[4:], "not an IDX file"),
        (lambda b: b"", "not an IDX file"),
        (lambda b: idx(np.zeros((59, 6, 5), np.uint8)), "59 images and 60 labels"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, damage, what: str) -> None:
    write_mnist(tmp_path, packed=False)
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=what) as caught:
        load_data("mnist", data_dir=tmp_path)
    assert str(tmp_path) in caught.value.where
    assert caught.value.remedy


def test_a_truncated_gzip_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(InputError, match="damaged or truncated"):
        load_data("fashion-mnist", data_dir=tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="there is no train-labels"):
        load_data("fashion-mnist", data_dir=tmp_path)
    with pytest.raises(InputError, match="were not found"):
        load_data("mnist", data_dir=tmp_path / "nowhere")


def test_cifar_binary_is_read_and_the_pickled_version_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rows = RNG.integers(0, 256, (20, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(20) % 10
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    data = load_data("cifar10", data_dir=tmp_path)
    assert data.test.images.shape == (20, 3, 32, 32)
    np.testing.assert_array_equal(data.test.images[3].reshape(-1), rows[3, 1:])
    (folder / "test_batch.bin").write_bytes(rows.tobytes()[:-1])
    with pytest.raises(InputError, match="no whole number of images"):
        load_data("cifar10", data_dir=tmp_path)
    pickled = tmp_path / "other" / "cifar-10-batches-py"
    pickled.mkdir(parents=True)
    (pickled / "data_batch_1").write_bytes(b"\x80\x02.")
    with pytest.raises(InputError, match="pickle") as caught:
        load_data("cifar10", data_dir=tmp_path / "other")
    assert "binary version" in caught.value.remedy


def test_svhn_counts_ten_as_zero_and_refuses_damage(tmp_path: Path) -> None:
    labels = (np.arange(40) % 10 + 1).astype(np.uint8)[:, None]
    for part in ("train", "test"):
        images = RNG.integers(0, 256, (32, 32, 3, 40), dtype=np.uint8)
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": labels}, do_compression=True)
    data = load_data("svhn", data_dir=tmp_path)
    assert data.test.labels[9] == 0
    np.testing.assert_array_equal(data.test.images[5], images[..., 5].transpose(2, 0, 1))
    file = tmp_path / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(InputError):
        load_data("svhn", data_dir=tmp_path)


def folder_of_images(root: Path, count: int = 10, size: int = 8) -> None:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = RNG.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")


def test_a_folder_of_class_folders_is_read_and_resized(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "pets")
    data = load_data(f"{tmp_path / 'pets'}?size=12&channels=1")
    assert data.classes == ("cat", "dog")
    assert data.train.images.shape[1:] == (1, 12, 12)


def test_faults_of_a_folder_are_named(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    folder_of_images(root)
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="'empty' has no images"):
        load_data(str(root))
    (root / "empty").rmdir()
    (root / "cat" / "5.png").write_bytes(b"not a png")
    with pytest.raises(InputError, match="not a readable image") as caught:
        load_data(str(root))
    assert caught.value.where.endswith("5.png")
    Image.new("RGB", (9, 8)).save(root / "cat" / "5.png")
    with pytest.raises(InputError, match="9×8") as caught:
        load_data(str(root))
    assert "?size=" in caught.value.remedy


def test_npz_layouts_and_faults(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    labels = np.arange(50) % 5
    np.savez(path, images=RNG.random((50, 7, 7, 3)), labels=labels)
    data = load_data(str(path))
    assert data.train.images.shape[1:] == (3, 7, 7)
    assert abs(float(data.normalise(data.train.images).std()) - 1) < 0.05
    faults = {
        "49 labels": {"images": np.zeros((50, 7, 7), np.uint8), "labels": labels[:49]},
        "has the arrays a": {"a": labels},
        "NaN": {"images": np.full((50, 1, 7, 7), np.nan), "labels": labels},
        "labels are <U": {"images": np.zeros((50, 7, 7), np.uint8), "labels": labels.astype(str)},
        "not a readable .npz": {"images": np.array([None, {}], dtype=object), "labels": labels},
    }
    for what, arrays in faults.items():
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=what):
            load_data(str(path))


def test_the_held_out_images_depend_on_the_seed_and_the_test_set_does_not() -> None:
    first, again, other = (load_data("digits", seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.validation.images, again.validation.images)
    assert not np.array_equal(first.validation.images, other.validation.images)
    np.testing.assert_array_equal(first.test.images, other.test.images)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("spec", ["digits?size=0", "digits?colour=1", "digits?channels=3", "no-such-set", "gone.npz"])
def test_a_wrong_data_option_is_an_input_error(spec: str) -> None:
    with pytest.raises(InputError) as caught:
        load_data(spec)
    assert caught.value.remedy


@pytest.mark.parametrize(("asked", "moved"), [("auto", False), ("none", False), ("crop", True), ("crop+flip", True)])
def test_images_of_users_are_moved_where_they_ask_for_it_alone(tmp_path: Path, asked: Augment, moved: bool) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(40, 1, 8, 8)).astype(np.float32), np.arange(40) % 2
    np.savez(tmp_path / "spectra.npz", images=images, labels=labels)
    for k in range(2):
        (tmp_path / f"classes/{k}").mkdir(parents=True)
        for n in range(10):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f"classes/{k}/{n}.png")
    for source in ("spectra.npz", "classes"):
        data = load_data(str(tmp_path / source))
        batches = Batches(data, data.train, 4, asked)
        given = {image.numpy().tobytes() for found, _ in batches.shuffled(1) for image in found}
        plain = {image.numpy().tobytes() for found, _ in batches.in_order() for image in found}
        assert (not given <= plain) is moved


def test_built_in_data_say_themselves_what_may_be_done_to_them() -> None:
    data = load_data("digits")
    batches = Batches(data, data.train, 64, "auto")
    plain = {image.numpy().tobytes() for found, _ in batches.in_order() for image in found}
    assert not {image.numpy().tobytes() for found, _ in batches.shuffled(1) for image in found} <= plain
