"""ONNX Runtime on the processor beside the engine. It *defines* what a host step gives.

One thread, no graph optimisation, one image at a time: the same bytes on every run and in every executor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.deadline import run_session
from proprune_cli.errors import BoardError, InputError
from proprune_cli.files.limits import HOST_SECONDS

SESSIONS = 64
"""Models kept open: a network has few, and opening one takes longer than running it."""

Codes = NDArray[np.int8]


def run_host_model(model: bytes, inputs: tuple[Codes, ...], shape: tuple[int, int, int], where: str) -> Codes:
    """int8 codes [C, H, W] of each input → int8 codes of ``shape``.

    Args:
        model: serialised ONNX model, int8 [1, C, H, W] in and out.
        where: what is run, for messages.

    Raises:
        InputError: ONNX Runtime refuses the model, or it gives something else than codes of ``shape``.
        BoardError: it does not come to an end.
    """
    try:
        session = _open(model)
        names = [str(i.name) for i in session.get_inputs()]
        feeds = {name: codes[np.newaxis] for name, codes in zip(names, inputs, strict=True)}
        result = np.asarray(run_session(session, None, feeds, where)[0])
    except BoardError:
        raise
    except Exception as error:  # ONNX Runtime raises its own, unrelated classes
        raise InputError(
            f"ONNX Runtime refuses what the host should compute: {error}",
            where=where,
            remedy="update onnxruntime, or compile the network with --no-host to see what it contains",
        ) from error
    if result.dtype != np.int8 or result.shape != (1, *shape):
        raise InputError(
            f"the host's model gives {result.dtype} {list(result.shape)}, int8 {[1, *shape]} is expected",
            where=where,
            remedy="compile the network again",
        )
    return result[0]


def plain_session(model: bytes) -> Any:
    """An ONNX Runtime session that computes as a step of the host does: as written, on one thread, without a word.

    Raises:
        Exception: of ONNX Runtime's own, unrelated classes, where it refuses the model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=SESSIONS)
def _open(model: bytes) -> Any:
    session = plain_session(model)
    try_session(session)
    return session


_DTYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8}


def try_session(session: Any, seconds: float = HOST_SECONDS) -> None:
    """Run a session once on zeros, and stop it when it takes too long. Its sizes are fixed, so this tells of every run.

    Raises:
        BoardError: it took longer than ``seconds``. Also whatever ONNX Runtime raises.
    """
    feeds = {
        str(value.name): np.zeros([n if isinstance(n, int) else 1 for n in value.shape], _DTYPES[value.type])
        for value in session.get_inputs()
    }
    run_session(session, None, feeds, "the host's part of one image", seconds)
