"""The folder of compiled engines: this user's own, and nothing in it is run that this user did not build."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.board import library_cache
from proprune_cli.board.library_cache import FOLDER, built
from proprune_cli.board.native import NativeEngine, compiler
from proprune_cli.errors import BoardError, ExitCode

ARRAY = load_array("z7020-256")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, not made yet."""
    monkeypatch.setenv("PROPRUNE_CACHE", str(tmp_path / "cache"))
    library_cache._temporary.cache_clear()
    yield tmp_path / "cache"
    library_cache._temporary.cache_clear()


def write(content: bytes) -> Build:
    return Build(content)


class Build:
    """Stands in for a compiler; ``calls`` counts how often it ran."""

    def __init__(self, content: bytes) -> None:
        self.content, self.calls = content, 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_bytes(self.content)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_library_is_built_once_into_a_folder_that_others_cannot_enter(cache: Path) -> None:
    make = write(b"library")
    path = built("a.so", make)
    assert path == cache / FOLDER / "a.so"
    assert built("a.so", make) == path
    assert (make.calls, path.read_bytes()) == (1, b"library")
    assert mode(cache / FOLDER) == 0o700
    assert all(mode(file) & 0o077 == 0 for file in (cache / FOLDER).iterdir())


def test_a_folder_of_this_user_that_others_may_read_is_closed(cache: Path) -> None:
    (cache / FOLDER).mkdir(parents=True)
    (cache / FOLDER).chmod(0o755)
    built("a.so", write(b"library"))
    assert mode(cache / FOLDER) == 0o700


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_into_is_refused(cache: Path, bits: int) -> None:
    (cache / FOLDER).mkdir(parents=True)
    (cache / FOLDER).chmod(bits)
    make = write(b"library")
    with pytest.raises(BoardError, match=f"others may write into it \\(mode 0{bits:o}\\)") as caught:
        built("a.so", make)
    assert caught.value.exit_code == ExitCode.BOARD
    assert make.calls == 0


def test_a_folder_that_is_a_link_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.mkdir()
    (cache / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BoardError, match="symbolic link"):
        built("a.so", write(b"library"))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_of_another_user_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / FOLDER).mkdir(parents=True, mode=0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(BoardError, match=f"belongs to user {owner}, you are {owner + 1}"):
        built("a.so", write(b"library"))


@pytest.mark.parametrize("record", [None, "0" * 64, "hash of what was planted", "\udcff"])
def test_a_library_that_was_not_recorded_is_built_anew(cache: Path, record: str | None) -> None:
    path = built("a.so", write(b"library"))
    path.write_bytes(b"planted")
    recorded = path.with_suffix(".sha256")
    recorded.unlink() if record is None else recorded.write_text(record, encoding="utf-8", errors="surrogateescape")
    make = write(b"library")
    assert built("a.so", make).read_bytes() == b"library"
    assert make.calls == 1
    assert built("a.so", make).read_bytes() == b"library"
    assert make.calls == 1


def test_a_library_that_is_a_link_or_that_others_may_write_is_built_anew(cache: Path, tmp_path: Path) -> None:
    path = built("a.so", write(b"library"))
    shutil.copy(path, tmp_path / "planted.so")
    path.unlink()
    path.symlink_to(tmp_path / "planted.so")
    make = write(b"library")
    built("a.so", make)
    assert (make.calls, path.is_symlink()) == (1, False)
    assert (tmp_path / "planted.so").read_bytes() == b"library"
    path.chmod(0o722)
    built("a.so", make)
    assert make.calls == 2


def test_a_lock_that_is_a_link_is_not_followed(cache: Path, tmp_path: Path) -> None:
    (cache / FOLDER).mkdir(parents=True, mode=0o700)
    (tmp_path / "precious").write_text("kept")
    (cache / FOLDER / "a.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(BoardError, match="cannot write the compiled engine"):
        built("a.so", write(b"library"))
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_build_that_fails_leaves_nothing_to_load(cache: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half a libr")
        raise BoardError("the compiler fails")

    with pytest.raises(BoardError, match="the compiler fails"):
        built("a.so", fail)
    assert [p.suffix for p in (cache / FOLDER).iterdir()] == [".lock"]


def test_a_planted_engine_is_never_run(cache: Path, tmp_path: Path) -> None:
    """What an attacker who could write the folder would leave: a library whose loading does something."""
    source, mark = tmp_path / "planted.cpp", tmp_path / "mark"
    source.write_text(f'#include <cstdio>\n__attribute__((constructor)) void run() {{ fopen("{mark}", "w"); }}\n')
    engine = NativeEngine(ARRAY).library_path
    subprocess.run([*compiler(), "-shared", "-fPIC", str(source), "-o", str(engine)], check=True)
    assert NativeEngine(ARRAY).digest() == int(ARRAY.digest[:8], 16)
    assert not mark.exists()


def test_without_a_home_the_engine_lives_as_long_as_the_process(tmp_path: Path) -> None:
    """No home directory, one that is read-only, one that is no directory: a private folder, which is removed."""
    (tmp_path / "file").touch()
    code = (
        "from proprune_cli.board.library_cache import built; "
        "p = built('a.so', lambda path: path.write_text('x')); print(p, oct(p.parent.stat().st_mode & 0o777))"
    )
    for home in ("/proc/nowhere", str(tmp_path / "file")):
        environment = {"HOME": home, "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        path, bits = done.stdout.split()
        assert Path(path).parent.parent == tmp_path
        assert bits == "0o700"
        assert not Path(path).exists()


def test_no_temporary_directory_either_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROPRUNE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", _no_home)

    def full(prefix: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(BoardError, match="No space left") as caught:
        built("a.so", write(b"library"))
    assert "PROPRUNE_CACHE" in caught.value.remedy


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("given", ["g++ 'unclosed", 'g++ -DX="', "g++ \\"])
def test_odd_quotes_in_the_compilers_command_are_named(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CXX", given)
    with pytest.raises(BoardError, match="CXX is no command") as caught:
        NativeEngine(ARRAY)
    assert caught.value.where == "environment variable CXX"


def test_a_compiler_that_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", str(tmp_path))
    with pytest.raises(BoardError, match=r"cannot be run \(Permission denied\)"):
        NativeEngine(ARRAY)
