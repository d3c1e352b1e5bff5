"""From a model to an artifact: find the ONNX file and the calibration images, compile, package."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.boards import board_with_array
from proprune_cli.artifact import Artifact, Golden, Source
from proprune_cli.artifact.host import host_segment
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.limits import MODEL_BYTES
from proprune_cli.files.read import read_whole
from proprune_cli.flow.networks import PRUNED, network_file, refuse_network
from proprune_cli.work.preprocess import INPUT_KEY

if TYPE_CHECKING:
    import onnx

    from proprune_cli.accel.array import Array
    from proprune_cli.accel.boards import Board
    from proprune_cli.compile.options import CompileOptions
    from proprune_cli.measure.predicted import Prediction
    from proprune_cli.nets.models import Module

CALIBRATION = "calibration.npy"
CALIBRATION_IMAGES = 500
"""Images taken from a data set that is named for calibration."""


def target(options: CompileOptions) -> tuple[Board, Array]:
    """The board and the array that ``options`` name.

    Raises:
        UsageError: there is no such board or array.
        DoesNotFitError: the board cannot carry the array.
    """
    return board_with_array(options.board, options.array)


def predict_source(source: Path, options: CompileOptions) -> Prediction:
    """Prediction of a run directory or an ONNX file, scheduled for the board that ``options`` name.

    No artifact is made and nothing is proven: it is for budgets, which weigh many networks.

    Raises:
        ProPruneError: as `build`.
    """
    model, calibration = _sources(source, options)
    return predict_model(model, _images(calibration, model), *target(options))


def predict_model(
    source: Path | onnx.ModelProto, images: NDArray[np.float32], board: Board, array: Array
) -> Prediction:
    """Prediction of an ONNX model, scheduled for ``array`` on ``board``.

    Args:
        images: calibration images, float32 [N, C, H, W].

    Raises:
        ProPruneError: the model or the images are wrong, unsupported or too large.
    """
    from proprune_cli.compile.pipeline import schedule_model
    from proprune_cli.measure.predicted import predict_program

    scheduled = schedule_model(source, images, array, board)
    return predict_program(scheduled.program, scheduled.array_macs(array).issued, board, array)


def check_network(network: bytes) -> None:
    """See that the compiler takes an ONNX network, by its operators and shapes; nothing is calibrated or scheduled.

    Raises:
        UnsupportedError: it does not; names the node, and how to go on without the compiler.
    """
    import onnx

    from proprune_cli.compile.frontend.graph import canonicalise, import_onnx

    try:
        canonicalise(import_onnx(onnx.load_model_from_string(network)))
    except UnsupportedError as error:
        raise UnsupportedError(
            f"the compiler would refuse this network once it is pruned, so nothing is trained: {error.what}",
            where=error.where,
            remedy=f"{error.remedy}; or give --no-engine where the run is not to be compiled",
        ) from error


def build(
    source: Path,
    options: CompileOptions,
    on_stage: Callable[[str], None] = lambda _: None,
    *,
    allow_host: bool = True,
    handed: object = None,
) -> Artifact:
    """Compile a run directory or an ONNX file.

    Args:
        allow_host: whether operators may run on the host.
        handed: calibration images as an object (`proprune_cli.data.objects`), in place of what ``options`` name.

    Raises:
        InputError: the source or the calibration images are missing or damaged, or the run has no such network.
        UnsupportedError: the network asks for something the engine does not do.
        UsageError: no run has a network of that name, or one is named of a file.
        DoesNotFitError: the network or the array is too large for the board.
    """
    board, array = target(options)
    model, calibration = _sources(source, options if handed is None else replace(options, calibration=CALIBRATION))
    on_stage("reading calibration images")
    images = _images(calibration, model) if handed is None else _handed_images(handed)
    digest = hashlib.sha256(read_whole(model, MODEL_BYTES)).hexdigest()
    name = source.name if source.is_dir() else source.stem
    origin = Source(model.name, digest, (options.network or PRUNED) if source.is_dir() else None)
    return _compiled(model, images, name, origin, board, array, options, on_stage, allow_host)


def build_module(module: Module, calibration: object, options: CompileOptions) -> Artifact:
    """Compile a module, which takes images as ``calibration`` has them.

    Args:
        module: a copy that may be changed. calibration: what ``options.calibration`` may name, or images as an object.

    Raises:
        ProPruneError: as `build`, or torch cannot export the module.
    """
    import onnx

    from proprune_cli.modules.probe import example_input
    from proprune_cli.nets.export import to_onnx
    from proprune_cli.nets.models import fitting
    from proprune_cli.spec.handed import module_words

    board, array = target(options)
    images = _images(calibration, None) if isinstance(calibration, str) else _handed_images(calibration)
    if images.ndim != 4 or not images.size:
        raise InputError(
            f"the calibration images have the shape {list(images.shape)}",
            where="calibration",
            remedy="give an array [N, C, H, W] with an image or more",
        )
    channels, height, width = images.shape[1:]
    fitting(module, channels, 0, (height, width), "anything", "model")
    data = to_onnx(module, example_input(channels, (height, width)))
    kind = type(module)
    return _compiled(
        onnx.load_model_from_string(data),
        images,
        kind.__name__,
        Source(module_words(kind), hashlib.sha256(data).hexdigest()),
        board,
        array,
        options,
    )


def _compiled(
    model: Path | onnx.ModelProto,
    images: NDArray[np.float32],
    name: str,
    source: Source,
    board: Board,
    array: Array,
    options: CompileOptions,
    on_stage: Callable[[str], None] = lambda _: None,
    allow_host: bool = True,
) -> Artifact:
    from proprune_cli.compile.pipeline import compile_model

    compiled = compile_model(model, images, array, board, on_stage, allow_host=allow_host, batch=options.batch)
    return Artifact(
        name=name,
        board=board.name,
        source=source,
        program=compiled.program,
        qdq=compiled.qdq,
        golden=Golden(compiled.golden_input, compiled.golden_codes_in, compiled.golden_codes_out),
        results=compiled.results,
        plan=compiled.plan,
        report=_strict(compiled.report),
        host=host_segment(compiled.host) if compiled.host else None,
    )


def _strict(value: Any) -> Any:
    """JSON has no infinity: the signal-to-noise ratio of a layer without any noise becomes null."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sources(source: Path, options: CompileOptions) -> tuple[Path, str]:
    """The ONNX file and where its calibration images come from."""
    calibration = options.calibration
    if source.is_dir():
        return network_file(source, options.network or PRUNED), calibration or str(source / CALIBRATION)
    if not source.exists():
        raise InputError("no such file or directory", where=str(source), remedy="give a run directory or an ONNX file")
    if options.network is not None:
        raise refuse_network(source)
    if calibration is None:
        raise InputError(
            "an ONNX file says nothing about the images it will see, and quantisation needs some",
            where=str(source),
            remedy="give --calibration images.npy (float32 NCHW, prepared as for training) or a data set, such as "
            "--calibration digits",
        )
    return source, calibration


def _handed_images(calibration: object) -> NDArray[np.float32]:
    from proprune_cli.data.objects import images_of

    return images_of(calibration, "calibration", CALIBRATION_IMAGES).astype(np.float32)


def _images(calibration: str, model: Path | None) -> NDArray[np.float32]:
    """float32 [N, C, H, W] as the network in the file ``model`` takes them; the compiler checks them against it.

    Of a data set that is named, images are as it stores them where the network says that it normalises them itself, or
    was handed over as a module (``model`` is None).
    """
    path = Path(calibration)
    if path.suffix == ".npy":
        from proprune_cli.artifact.arrays import read_array

        return read_array(path)
    from proprune_cli.data.load import load_data

    try:
        data = load_data(calibration)
    except InputError as error:
        # The data sets know themselves by the option of `prune`.
        where = error.where.replace("--data ", "--calibration ")
        raise InputError(error.what, where=where, remedy=error.remedy) from error
    images = data.sample(CALIBRATION_IMAGES)
    return images if model is None or _normalises(model) else data.normalise(images)


def _normalises(path: Path) -> bool:
    """Whether the network takes images as the data set stores them; its reader says what is wrong with the file."""
    from proprune_cli.files.onnx_model import parse_model

    try:
        model = parse_model(read_whole(path, MODEL_BYTES), str(path), outside=True)
    except InputError:
        return False
    return any(entry.key == INPUT_KEY for entry in model.metadata_props)
