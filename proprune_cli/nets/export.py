"""Exports a network to ONNX and checks the file against the network."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper
from torch import nn

from proprune_cli.errors import UnsupportedError
from proprune_cli.modules.outputs import difference, names_of, tensors_of
from proprune_cli.modules.restored import restored
from proprune_cli.work.preprocess import INPUT_KEY

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference to the network, relative to its largest output."""

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Scale and shift of each channel."""

Exporter = Callable[[nn.Module, torch.Tensor, list[str]], bytes]

_INPUT = "input"
_NORMALISED = "normalise/done"


def to_onnx(
    model: nn.Module,
    example: torch.Tensor,
    where: str = "model",
    normalisation: Normalisation | None = None,
    *,
    quick: bool = False,
) -> bytes:
    """ONNX bytes of ``model`` in eval mode: input ``input`` [batch, C, H, W], output ``output``.

    Several outputs are named by `proprune_cli.modules.outputs.names_of`. The batch dimension is dynamic, weights are
    inside the file. The module is left as it was.

    Args:
        example: an image as ``model`` takes it.
        normalisation: scale and shift of each channel, put before the network; the file then takes images as the data
            set stores them, and says so in its metadata.
        quick: by torch's older exporter first, which takes a tenth of the time and knows fewer networks.

    Raises:
        UnsupportedError: torch cannot export the network, or ONNX Runtime computes something else from the file.
    """
    with restored(model, parameters=False):
        model.eval()
        with torch.no_grad():
            result = model(example)
        data = _exported(
            model, example, names_of(result), where, (_by_trace, _by_program) if quick else (_by_program, _by_trace)
        )
    _compare(tensors_of(result), data, example, where)
    return data if normalisation is None else _normalising(data, normalisation)


def normalises(data: bytes) -> bool:
    """Whether an ONNX file says that its network takes images as the data set stores them."""
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        return False  # whoever reads the network says what is wrong
    return any(entry.key == INPUT_KEY for entry in model.metadata_props)


def _normalising(data: bytes, normalisation: Normalisation) -> bytes:
    """The same network behind ``x * scale + shift``."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_NORMALISED if name == _INPUT else name for name in node.input]
    columns = [np.asarray(values, np.float32).reshape(1, -1, 1, 1) for values in normalisation]
    graph.initializer.extend(
        numpy_helper.from_array(values, f"normalise/{name}")
        for name, values in zip(("scale", "shift"), columns, strict=True)
    )
    graph.node.insert(
        0, helper.make_node("Add", ["normalise/scaled", "normalise/shift"], [_NORMALISED], "normalise/Add")
    )
    graph.node.insert(0, helper.make_node("Mul", [_INPUT, "normalise/scale"], ["normalise/scaled"], "normalise/Mul"))
    model.metadata_props.add(key=INPUT_KEY, value="as the data set stores it; the network normalises it")
    return model.SerializeToString()


def _exported(
    model: nn.Module, example: torch.Tensor, names: list[str], where: str, exporters: tuple[Exporter, Exporter]
) -> bytes:
    """By one of torch's exporters, or the other: torch 2.6 fails on batch norms beside a new onnxscript."""
    failures: list[Exception] = []
    for export in exporters:
        try:
            with _silent(), restored(model, parameters=False):
                return export(model, example, names)
        except Exception as error:  # noqa: BLE001  # it is told below, once both have failed
            failures.append(error)
    first = (str(failures[0]).strip().splitlines() or [type(failures[0]).__name__])[0]
    raise UnsupportedError(
        f"torch cannot export the network to ONNX: {first[:300]}",
        where=where,
        remedy="export it by hand to see why: torch.onnx.export(model, (x,), dynamo=True)",
    ) from failures[0]


def _by_program(model: nn.Module, example: torch.Tensor, names: list[str]) -> bytes:
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        optimize=True,
        opset_version=OPSET,
        input_names=[_INPUT],
        output_names=names,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch exported nothing")
    return program.model_proto.SerializeToString()


def _by_trace(model: nn.Module, example: torch.Tensor, names: list[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="proprune-") as folder:
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            model,
            (example,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=[_INPUT],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in (_INPUT, *names)},
        )
        return file.read_bytes()


@contextlib.contextmanager
def _silent() -> Generator[None, None, None]:
    """Without what exporters print, warn and log."""
    noise = io.StringIO()
    level = logging.getLogger("torch.onnx").level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def _compare(expected: list[torch.Tensor], data: bytes, example: torch.Tensor, where: str) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = [torch.from_numpy(np.asarray(array)) for array in session.run(None, {_INPUT: example.numpy()})]
    error = difference(found, expected)
    if error > TOLERANCE:
        raise UnsupportedError(
            f"the exported network differs from the original by {error:.2g} of the largest output",
            where=where,
            remedy="torch's exporter gives a wrong file for it: try another release of torch, or give an ONNX file "
            "made by other means (--model net.onnx)",
        )
