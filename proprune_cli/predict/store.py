"""A data set on disk: parts of a few rows that appear whole or not at all, and the file that they become.

    DIR/dataset.json     what was asked, and by which models
    DIR/parts/NNNN.parquet    the rows of a part
    DIR/dataset.parquet  all rows, once every part is there

A process killed at any moment leaves whole parts; those that are there are not made again, so that no row is there
twice. The same plan gives the same bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proprune_cli.errors import InputError
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.files.write import write_whole
from proprune_cli.predict.schema import VERSION, arrow, metadata, schema

PLAN = "dataset.json"
FILE = "dataset.parquet"
ROWS_OF_A_PART = 48


@dataclass(frozen=True)
class Store:
    """The data set in ``path``."""

    path: Path

    def open(self, asked: dict[str, Any]) -> None:
        """Begin the data set that was ``asked`` for, or go on with it.

        Raises:
            InputError: there is another one, or one by other models.
        """
        document = {"version": VERSION, "kind": "dataset", **metadata(), "asked": asked}
        (self.path / "parts").mkdir(parents=True, exist_ok=True)
        file = self.path / PLAN
        if not file.exists():
            write_whole(file, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())
            return
        known, wanted = _known(file), json.loads(json.dumps(document))
        if known != wanted:
            before, now = ({**document.get("asked", {}), **document} for document in (known, wanted))
            differing = sorted(n for n in {*before, *now} - {"asked"} if before.get(n) != now.get(n))
            raise InputError(
                f"the directory holds another data set: {', '.join(differing)} differ",
                where=str(self.path),
                remedy="give the same options, or another directory",
            )

    def missing(self, parts: int) -> list[int]:
        """Numbers of the parts that are not there, or damaged."""
        return [number for number in range(parts) if self._rows(number) is None]

    def write_part(self, number: int, content: bytes) -> None:
        """Keep the rows of a part, as `encode` gives them."""
        write_whole(self._part(number), content)

    def finish(self, parts: int) -> Path:
        """Put all parts together.

        Raises:
            InputError: a part is damaged.
        """
        pa = arrow()
        tables = [self._rows(number) for number in range(parts)]
        for number, table in enumerate(tables):
            if table is None:
                raise InputError("a part of the data set is damaged", where=str(self._part(number)), remedy="run again")
        write_whole(self.path / FILE, _bytes(pa.concat_tables(tables)))
        return self.path / FILE

    def _part(self, number: int) -> Path:
        return self.path / "parts" / f"{number:05d}.parquet"

    def _rows(self, number: int) -> Any:
        """The rows of a part, None where they cannot be read."""
        pa = arrow()
        try:
            table = pa.parquet.read_table(self._part(number), memory_map=False)
        except (OSError, pa.ArrowInvalid):
            return None
        # Names inside lists change on the way through a file, so that metadata is compared apart.
        same = table.schema.equals(schema()) and table.schema.metadata == schema().metadata
        return table if same else None


def _known(file: Path) -> dict[str, Any]:
    try:
        return parse_object(read_file(file, JSON_BYTES))
    except ValueError as error:
        raise InputError(
            f"the plan of the data set cannot be read: {error}", where=str(file), remedy="choose another directory"
        ) from error


def encode(rows: Iterable[dict[str, Any]]) -> bytes:
    """Rows as a Parquet file."""
    return _bytes(arrow().Table.from_pylist(list(rows), schema=schema()))


def _bytes(table: Any) -> bytes:
    out = io.BytesIO()
    arrow().parquet.write_table(table, out, compression="zstd", row_group_size=2048)
    return out.getvalue()


def read_rows(file: Path) -> Any:
    """The table of a data set, a `pyarrow.Table` in the schema of this version.

    Args:
        file: of this format, or a directory that holds one.

    Raises:
        InputError: it can't be read, was cut short, or is of another version.
    """
    pa = arrow()
    path = file / FILE if file.is_dir() else file
    try:
        table = pa.parquet.read_table(path, memory_map=False)
    except FileNotFoundError as error:
        raise InputError(
            "there is no data set", where=str(path), remedy=f"make one with `proprune dataset --out {file}`"
        ) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"the file is no Parquet file, or was cut short: {error}", where=str(path), remedy="make the data set again"
        ) from error
    found = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    if found.get("proprune.schema") != str(VERSION):
        raise InputError(
            f"the data set is of schema {found.get('proprune.schema', 'none')}, this version reads {VERSION}",
            where=str(path),
            remedy="make the data set again",
        )
    if not table.schema.equals(schema(), check_metadata=False):
        raise InputError(
            "the data set has other columns than its schema says", where=str(path), remedy="make the data set again"
        )
    return table
