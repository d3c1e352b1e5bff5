"""What is written goes where it was meant to go, whole or not at all, and nothing else is touched."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from proprune_cli.errors import InputError
from proprune_cli.files.write import open_lock, write_whole
from proprune_cli.flow import prune as flow_prune
from proprune_cli.rundir import RunDir


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody else's, to which planted links lead."""
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


def test_links_at_temporary_names_are_not_followed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / f".y.npy.{os.getpid()}.part").symlink_to(victim)
    write_whole(tmp_path / "y.npy", b"new")
    assert (tmp_path / "y.npy").read_bytes() == b"new" and victim.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["victim", "y.npy"]


@pytest.mark.parametrize("name", ["run.json.tmp", "model.onnx.tmp", "stages/cut/weights.tmp"])
def test_nor_in_a_run_directory(tmp_path: Path, victim: Path, name: str) -> None:
    run = tmp_path / "run"
    with RunDir(run, "prune", {"a": 1}) as directory:
        stage = directory.stage("cut", {})
        place = run / name.replace("stages/cut", "stages/cut.partial")
        place.symlink_to(victim)
        directory.record("fact", 1)
        directory.publish("model.onnx", b"model")
        stage.write("weights", b"weights")
        stage.commit()
    assert victim.read_text() == "precious"
    assert (run / "stages/cut/weights").read_bytes() == b"weights"
    assert not any(p.is_symlink() for p in run.rglob("*"))


@pytest.mark.parametrize("plant", ["link", "dangling", "second name", "pipe"])
def test_a_lock_is_a_file_of_its_own(tmp_path: Path, victim: Path, plant: str) -> None:
    run = tmp_path / "run"
    with RunDir(run, "prune", {}):
        pass
    lock = run / ".lock"
    lock.unlink()
    if plant == "link":
        lock.symlink_to(victim)
    elif plant == "dangling":
        lock.symlink_to(tmp_path / "made")
    elif plant == "pipe":
        os.mkfifo(lock)
    else:
        os.link(victim, lock)
    with pytest.raises(InputError, match="link or a device"), RunDir(run, "prune", {}):
        pass
    assert victim.read_text() == "precious" and not (tmp_path / "made").exists()


def test_a_directory_of_stages_is_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cut").mkdir(parents=True)
    (elsewhere / "cut" / "kept").write_text("precious")
    run = tmp_path / "run"
    with RunDir(run, "prune", {}) as directory:
        (run / "stages").symlink_to(elsewhere)
        with pytest.raises(InputError, match="a link lies"):
            directory.stage("cut", {})
    assert (elsewhere / "cut" / "kept").read_text() == "precious"


def test_the_file_of_predictions_is_not_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / flow_prune.PREDICTION).symlink_to(victim)
    write_whole(tmp_path / flow_prune.PREDICTION, b"{}")
    assert victim.read_text() == "precious"


def test_open_lock_gives_a_plain_file(tmp_path: Path) -> None:
    descriptor = open_lock(tmp_path / ".lock")
    assert stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)


def test_a_sink_takes_the_content_and_stays_what_it_is() -> None:
    before = Path("/dev/null").stat()
    write_whole(Path("/dev/null"), b"content")
    after = Path("/dev/null").stat()
    assert (before.st_rdev, before.st_ino) == (after.st_rdev, after.st_ino)
    with pytest.raises(InputError, match="no room"):
        write_whole(Path("/dev/full"), b"content")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_pipe_takes_the_content_where_somebody_reads(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="nobody reads"):
        write_whole(pipe, b"content")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    for _ in range(1000):
        try:
            write_whole(pipe, b"x" * 200_000)
            break
        except InputError:
            reader.join(0.01)
    reader.join()
    assert found == [b"x" * 200_000] and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/comm", "/dev"])
def test_devices_and_the_like_are_refused(path: str) -> None:
    before = Path(path).lstat()
    with pytest.raises(InputError):
        write_whole(Path(path), b"content")
    assert Path(path).lstat().st_mode == before.st_mode


def test_a_socket_is_refused(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        with pytest.raises(InputError, match="socket"):
            write_whole(tmp_path / "s", b"content")
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)


@pytest.mark.parametrize(
    ("code", "what"), [(errno.EROFS, "read-only"), (errno.EACCES, "permission"), (errno.ENOSPC, "no room")]
)
def test_the_first_error_is_the_one_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, what: str
) -> None:
    """A directory in which nothing may be written lets nothing be removed, either."""
    real_unlink = Path.unlink

    def refuse(*_arguments: object, **_keywords: object) -> int:
        raise OSError(code, os.strerror(code))

    def no_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            raise OSError(errno.EPERM, "cannot remove")
        real_unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", no_unlink)
    with pytest.raises(InputError, match=what):
        write_whole(tmp_path / "y.npy", b"content")


def test_nothing_is_left_of_what_could_not_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path, _target: Path) -> Path:
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(InputError, match="no room"):
        write_whole(tmp_path / "y.npy", b"content")
    assert list(tmp_path.iterdir()) == []
