"""Exports a network to ONNX and checks the file against the network."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import numpy as np
import torch
from torch import nn

from proprune_cli.errors import UnsupportedError
from proprune_cli.prune.outputs import difference, names_of, tensors_of

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference to the network, relative to its largest output."""


def to_onnx(model: nn.Module, example: torch.Tensor, where: str = "model") -> bytes:
    """ONNX bytes of ``model`` in eval mode: input ``input`` [batch, C, H, W], output ``output``.

    Several outputs are named by `proprune_cli.prune.outputs.names_of`. The batch dimension is dynamic, weights are
    inside the file.

    Raises:
        UnsupportedError: torch cannot export the network, or ONNX Runtime computes something else from the file.
    """
    model = model.eval()
    with torch.no_grad():
        result = model(example)
    noise = io.StringIO()
    level = logging.getLogger("torch.onnx").level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["input"],
                output_names=names_of(result),
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
                verbose=False,
            )
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(
            f"torch cannot export the network to ONNX: {first[:300]}",
            where=where,
            remedy="export it by hand to see why: torch.onnx.export(model, (x,), dynamo=True)",
        ) from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    if program is None:
        raise UnsupportedError("torch exported nothing", where=where, remedy="update torch and onnxscript")
    data = program.model_proto.SerializeToString()
    _compare(tensors_of(result), data, example, where)
    return data


def _compare(expected: list[torch.Tensor], data: bytes, example: torch.Tensor, where: str) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = [torch.from_numpy(np.asarray(array)) for array in session.run(None, {"input": example.numpy()})]
    error = difference(found, expected)
    if error > TOLERANCE:
        raise UnsupportedError(
            f"the exported network differs from the original by {error:.2g} of the largest output",
            where=where,
            remedy="report this network; torch's exporter gives a wrong file for it",
        )
