"""Networks with their end on the host: as the original, as programs, and as ONNX Runtime's own int8."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from proprune_cli.accel.array import load_array
from proprune_cli.artifact.host import host_segment
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.qdq.export import to_qdq
from proprune_cli.compile.quantise.calibration import calibrate, open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.graph import Graph
from tests.executors import MEMORY, differing_bytes

Images = NDArray[np.float32]
Results = dict[str, NDArray[Any]]


def original(model: onnx.ModelProto, images: Images) -> Results:
    """What ONNX Runtime gives for ``model`` in float32: image by image, or all at once where their number is fixed."""
    session = open_session(model.SerializeToString(), optimise=False)
    source = session.get_inputs()[0]
    names = [output.name for output in session.get_outputs()]
    count = len(images) if source.shape[0] == len(images) else 1
    runs = [run_session(session, names, {source.name: images[i : i + count]}) for i in range(0, len(images), count)]
    return {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(names)}


def imported(model: onnx.ModelProto, images: Images) -> tuple[Graph, Results]:
    """The float network and its results, its end on the host included."""
    found = import_onnx(model)
    graph = canonicalise(found)
    seen = calibrate(graph, images).outputs
    made: Results = {o.name: y.reshape(len(images), *o.shape) for o, y in zip(graph.outputs, seen, strict=True)}
    return graph, _whole(found, made)


@dataclass(frozen=True)
class Quantised:
    """Attributes: differing: bytes by executor, see `tests.executors`. results: of the whole network, by name."""

    differing: dict[str, int]
    results: Results
    boundary: dict[str, tuple[int, ...]]


def compiled(model: onnx.ModelProto, calibration: Images, images: Images) -> Quantised:
    """The network as a program for z7020-256; bytes are compared on the first two images."""
    found = import_onnx(model)
    quantised, _ = quantise(canonicalise(found), calibration)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    differing = differing_bytes(quantised, program, images[:2])
    session = open_session(to_qdq(quantised).SerializeToString(), optimise=False, threads=1)
    runs = [run_session(session, None, {quantised.input: image[None]}) for image in images]
    made: Results = {
        output.name: np.concatenate([np.asarray(run[i]).reshape(1, *output.shape) for run in runs])
        for i, output in enumerate(quantised.outputs)
    }
    return Quantised(differing, _whole(found, made), {output.name: output.shape for output in quantised.outputs})


def _whole(found: Graph, made: Results) -> Results:
    if found.host_tail is not None:
        made = made | host_segment(found.host_tail.model).run(made)
    return {name: made[name] for name in found.results}


def runtimes_int8(model: onnx.ModelProto, calibration: Images, images: Images) -> Results:
    """By ONNX Runtime's own static quantisation: symmetric int8, one scale for each filter."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = model.graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, Images]:
            return next(({source: image[None]} for image in self.images), {})

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, done = (str(Path(folder) / name) for name in ("given.onnx", "prepared.onnx", "done.onnx"))
        onnx.save(model, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            done,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"ActivationSymmetric": True},
        )
        return original(onnx.load(done), images)


def signal_db(wanted: NDArray[Any], got: NDArray[Any]) -> float:
    """Signal above the error, in dB."""
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    return float(10 * np.log10(np.square(a).sum() / max(np.square(a - b).sum(), 1e-30)))
