"""The container: a deterministic zip whose comment holds the SHA-256 of every byte before it.

Members are stored, not deflated: quantised weights hardly compress, and zlib's output differs between versions while
these bytes must not. Times and attributes are fixed, so equal contents give equal files.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

from proprune_cli.errors import InputError

_PREFIX = b"proprune sha256 "
_SEAL_BYTES = len(_PREFIX) + 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_READ_ONLY = 0o100644 << 16

REMEDY = "copy it again, or compile the network again"


def seal(members: Mapping[str, bytes]) -> bytes:
    """Members by name → container bytes, in the mapping's order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = _READ_ONLY
            archive.writestr(entry, content)
        archive.comment = bytes(_SEAL_BYTES)
    body = stream.getvalue()[:-_SEAL_BYTES]
    return body + _comment(body)


def unseal(content: bytes, where: str) -> dict[str, bytes]:
    """Container bytes → members by name.

    Args:
        where: the file's name, for messages.

    Raises:
        InputError: not a container, or not one bit of it may be trusted because it was cut or altered.
    """
    if not content.startswith(b"PK\x03\x04"):
        what = "the file is empty" if not content else "this is not a proprune artifact"
        raise InputError(what, where=where, remedy="give a .ppr file that `proprune compile` wrote")
    body, comment = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if comment != _comment(body):
        known = comment.startswith(_PREFIX)
        what = (
            "the artifact is damaged: its contents do not match their checksum"
            if known
            else "the artifact is damaged: its checksum is missing, so it was cut short or something was added"
        )
        raise InputError(what, where=where, remedy=REMEDY)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            # Several names for the same bytes make much out of little.
            if len({entry.filename for entry in entries}) < len(entries) or (
                sum(entry.file_size for entry in entries) > len(content)
            ):
                raise InputError("members share their bytes or their name", where=where, remedy=REMEDY)
            for entry in entries:
                # Sealed by us means stored by us: anything else was made to look like an artifact.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
                    raise InputError(f"member {entry.filename!r} is not stored plainly", where=where, remedy=REMEDY)
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(f"the artifact is damaged: {error}", where=where, remedy=REMEDY) from error


def _comment(body: bytes) -> bytes:
    return _PREFIX + hashlib.sha256(body).hexdigest().encode()
