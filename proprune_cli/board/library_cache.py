"""Where compiled libraries are kept, so that nothing is ever loaded that this user did not build.

Loading a library runs it. So the folder is this user's own and closed to others, as ssh wants its own; each library is
compiled beside its place and renamed, its SHA-256 written next to it; and what is not this user's, or not what was
recorded, is built anew.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

from proprune_cli.errors import BoardError

FOLDER = "engines"
"""Below the cache directory, which others than libraries may share."""

OTHERS = 0o077
WRITABLE_BY_OTHERS = 0o022


def cache_dir() -> Path | None:
    """``$PROPRUNE_CACHE``, else ``$XDG_CACHE_HOME/proprune``, else ``~/.cache/proprune``; not created here.

    None where there is no home directory. A relative ``XDG_CACHE_HOME`` counts for nothing, as its specification says.
    """
    if explicit := os.environ.get("PROPRUNE_CACHE"):
        return Path(explicit).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "proprune"
    try:
        return Path.home() / ".cache" / "proprune"
    except RuntimeError:
        return None


def built(name: str, build: Callable[[Path], None]) -> Path:
    """The library called ``name``, from the cache where it is there and this user's.

    Args:
        build: writes the library to the path that it is given.

    Raises:
        BoardError: the folder is not safe, or ``PROPRUNE_CACHE`` cannot be written; also whatever ``build`` raises.
    """
    folder = _folder()
    library = folder / name
    if _trusted(library):
        return library
    try:
        with _exclusive(library.with_suffix(".lock")):
            if not _trusted(library):
                _build(library, build)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return library


def _folder() -> Path:
    """The user's own folder; a private one that ends with this process where no home can hold it."""
    base = cache_dir()
    if base is None:
        return _temporary()
    folder = base / FOLDER
    try:
        base.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _own(folder)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        error = PermissionError(f"[Errno 13] Permission denied: '{folder}'")
    except OSError as caught:
        error = caught
    if os.environ.get("PROPRUNE_CACHE"):
        raise _unwritable(folder, error) from error
    return _temporary()


def _own(folder: Path) -> None:
    """See that ``folder`` is a directory of this user's that others cannot enter.

    Raises:
        BoardError: it is a link, another user's, or others may write into it.
    """
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        fault, remedy = "it is a symbolic link", "remove the link"
    elif not stat.S_ISDIR(found.st_mode):
        fault, remedy = "it is no directory", "remove it"
    elif found.st_uid != os.geteuid():
        fault, remedy = f"it belongs to user {found.st_uid}, you are {os.geteuid()}", "remove it"
    elif found.st_mode & WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        fault, remedy = f"others may write into it (mode {mode:04o})", "remove it with what it holds"
    else:
        if found.st_mode & OTHERS:
            folder.chmod(0o700)
        return
    raise BoardError(
        f"the folder of compiled engines is not safe: {fault}, and a library in it would be run",
        where=str(folder),
        remedy=f"{remedy}, or set PROPRUNE_CACHE to a directory of your own",
    )


@cache
def _temporary() -> Path:
    """A private folder until the process ends.

    Raises:
        BoardError: none can be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="proprune-"))
    except OSError as error:
        raise _unwritable(Path(tempfile.gettempdir()), error) from error
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _unwritable(folder: Path, error: OSError) -> BoardError:
    return BoardError(
        f"cannot write the compiled engine: {error}",
        where=str(folder),
        remedy="set PROPRUNE_CACHE to a directory that can be written",
    )


def _trusted(library: Path) -> bool:
    """Whether ``library`` is a plain file that this user wrote, alone may write, and that is what was recorded."""
    record = _record(library)
    try:
        for path in (library, record):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & WRITABLE_BY_OTHERS:
                return False
        return record.read_text(encoding="ascii") == hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False


def _record(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _build(library: Path, build: Callable[[Path], None]) -> None:
    """Compile beside the target and rename, so that nobody ever loads half a library."""
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        output, record = Path(folder) / library.name, Path(folder) / "record"
        build(output)
        output.chmod(0o700)
        record.write_text(hashlib.sha256(output.read_bytes()).hexdigest(), encoding="ascii")
        record.chmod(0o600)
        record.replace(_record(library))
        output.replace(library)


@contextlib.contextmanager
def _exclusive(path: Path) -> Generator[None]:
    """Hold a lock file; another process that builds the same library waits."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
