"""Images of a file through an artifact, a part at a time: memory does not grow with their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.artifact import Artifact
from proprune_cli.artifact.arrays import ArrayWriter
from proprune_cli.artifact.codes import bad_values, check_layout, refuse_bad
from proprune_cli.board.base import Executor
from proprune_cli.files.arrays import NpyFile, open_npy
from proprune_cli.flow.execute import clipped_values, run_codes, run_images

PART_BYTES = 4 << 20
"""Of images that are read and computed together."""


class ImageFile:
    """Images for an artifact; see `open_images`.

    Attributes:
        count: of images. clipped: share of the values that lie beyond the codes of the input, among those that have
            been read; of a file all have been, of a pipe none before `parts`.
    """

    def __init__(self, file: NpyFile, where: str, artifact: Artifact, raw: bool) -> None:
        self._file, self._where, self._program, self._raw = file, where, artifact.program, raw
        check_layout(
            file.dtype, file.shape, artifact.input_shape, where, raw=raw, stored=artifact.program.preprocess is not None
        )
        self.count = file.shape[0]
        starts = max(1, PART_BYTES // (4 * prod(file.shape[1:]) * self._program.batch))
        self._rows = starts * self._program.batch
        self._beyond = self._seen = 0
        if file.seekable:
            # Before hours of computing, what is wrong with the last image.
            refuse_bad(sum(map(self._look, file.parts(self._rows))), prod(file.shape), where)

    @property
    def clipped(self) -> float:
        """See the class."""
        return self._beyond / self._seen if self._seen else 0.0

    def parts(self) -> Iterator[NDArray[Any]]:
        """float32 [n, C, H, W], or int8 where codes were asked for; n fills starts of the program but the last.

        Raises:
            InputError: a pipe ends before, or gives NaN or infinity.
        """
        done = 0
        for part in self._file.parts(self._rows):
            if not self._file.seekable:
                refuse_bad(self._look(part), part.size, f"{self._where}, images {done} to {done + len(part) - 1}")
            done += len(part)
            yield part if self._raw else part.astype(np.float32, copy=False)

    def _look(self, part: NDArray[Any]) -> int:
        """Count clipped values; how many are no numbers."""
        if self._raw:
            return 0
        bad = bad_values(part)
        self._seen += part.size
        self._beyond += 0 if bad else clipped_values(self._program, part)
        return bad


@contextmanager
def open_images(path: Path, artifact: Artifact, *, raw: bool = False) -> Generator[ImageFile, None, None]:
    """The images of a ``.npy`` file or a pipe, checked against the network; of a file, every value.

    Args:
        raw: they are int8 codes.

    Raises:
        InputError: no such file, wrong type or shape, no image, NaN or infinity.
    """
    with open_npy(path) as file:
        yield ImageFile(file, str(path), artifact, raw)


def run_file(
    artifact: Artifact,
    executor: Executor,
    images: ImageFile,
    writer: ArrayWriter,
    *,
    raw: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> float:
    """The network's outputs for ``images`` into ``writer``; seconds that computing took.

    Raises:
        InputError: an image is wrong, or an output cannot be written.
    """
    program, seconds = artifact.program, 0.0
    for part in images.parts():
        start = time.perf_counter()
        if raw:
            codes = run_codes(executor, part, program.batch, advance)
            results: dict[str, NDArray[Any]] = dict(
                zip([output.name for output in program.outputs], codes, strict=True)
            )
        else:
            results = run_images(artifact, executor, part, advance)
        seconds += time.perf_counter() - start
        writer.write(results)
    return seconds
