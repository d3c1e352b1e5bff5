"""proprune: from a PyTorch CNN to a PYNQ FPGA board. The Python functions under the commands; see docs/python-api.md.

Importing this package imports nothing heavy; each function imports what it needs when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from proprune_cli.artifact import Artifact
    from proprune_cli.channels.shrunk import Shrunk
    from proprune_cli.flow.execute import DeployReport
    from proprune_cli.measure.records import BenchRecord
    from proprune_cli.prune import PruneResult
    from proprune_cli.prune.sensitivity import Sensitivity

__all__ = [
    "load",
    "prune_module",
    "run_artifact",
    "run_bench",
    "run_compile",
    "run_deploy",
    "run_inspect",
    "run_prune",
    "run_sensitivity",
]

Paths = str | os.PathLike[str]


def __getattr__(name: str) -> str:
    """``__version__``, read from the installed distribution when it is asked for."""
    if name == "__version__":
        from proprune_cli.artifact.version import tool_version

        return tool_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(run: Paths, network: str = "pruned", *, trust: bool = False, model: nn.Module | None = None) -> nn.Module:
    """Network of a finished run, in eval mode, with its trained weights: ready to run, to train on, or to prune again.

    Args:
        run: run directory of ``proprune prune``. network: "pruned", "dense" or "thin".
        trust: a model that the run names as ``package.module:factory`` may be imported and called.
        model: the module that was handed to `run_prune`, where one was: the network is then of its class. Without it,
            the network is built from the run's ONNX file, in which batch norms are part of their convolutions.

    Raises:
        InputError: the directory is not a finished run, its files are damaged, or it names code and is not trusted.
        UnsupportedError: the run's ONNX file cannot be read back, and ``model`` is needed.
    """
    from proprune_cli.flow.handed import path_of, taken_or_none
    from proprune_cli.prune import load_run

    return load_run(path_of(run, "run"), network, trust=trust, model=taken_or_none(model))


def run_prune(
    out: Paths,
    *,
    model: str | nn.Module,
    data: object,
    force: bool = False,
    normalise: bool | None = None,
    **options: Any,
) -> PruneResult:
    """``proprune prune``: train, prune, fine-tune and export into the run directory ``out``, from where it stopped.

    A module is copied and never changed. A run that was given objects resumes with objects of the same content.

    Args:
        model: as ``--model``, or a module, which is taken with its weights: ``epochs`` is then 0 unless it is given.
        data: as ``--data``; or ``(images, labels)`` or ``(x_train, y_train, x_test, y_test)`` of arrays or tensors, a
            torch DataLoader or data set, or ``(training, test)`` of these.
        force: go on although the run was started with other options.
        normalise: whether images are normalised before the network, by the moments of the training images; that is
            then part of the exported network. None: before a model that is named, not before a module.
        options: fields of `proprune_cli.prune.PruneOptions`; ``budget`` may be text such as ``"ms=40%"``, and those of
            `TrainOptions` are written ``train={"lr": 0.05}``, where ``loss`` and ``metric`` may be functions.

    Raises:
        BudgetError: the budget cannot be met, and nothing was trained; or it was missed, and the finished run is in
            ``out`` all the same.
        ProPruneError: whatever the command reports, and objects that are no module, no data, or do not fit.
    """
    from proprune_cli.flow.handed import handed_run, path_of
    from proprune_cli.flow.prune import missed, prune

    where = path_of(out, "out")
    asked, given = handed_run(model, data, normalise, options)
    result, checked = prune(asked, where, force=force, given=given)
    error = missed(asked, where, result, checked)
    if error is not None:
        raise error
    return result


def prune_module(module: nn.Module, shape: tuple[int, int, int], **options: Any) -> Shrunk:
    """Remove channels from any exportable module, without data or a run; the module itself keeps its weights.

    The result is proved against the masked network before it is given back. Its ``model`` is the smaller module,
    ``cuts`` say which channels stay, ``groups`` what became of each group and why some were left alone.

    Args:
        shape: channels, height and width of an image.
        options: fields of `proprune_cli.prune.PruneOptions` that decide what goes: ``method``, ``budget``,
            ``residual``, ``scope``, ``multiple``, ``min_keep``, ``exclude``, ``board``. ``taylor`` weighs the gradients
            in the parameters' ``.grad``. A budget of ms or mJ counts layer shapes.

    Raises:
        ProPruneError: the module cannot be traced or pruned, the budget cannot be met, or an option is wrong.
    """
    from proprune_cli.flow.handed import module_of, shape_of
    from proprune_cli.flow.prune import module_options
    from proprune_cli.prune.shrinking import prune_module

    return prune_module(module_of(module), shape_of(shape), *module_options(options))


def run_sensitivity(
    run: Paths | nn.Module,
    network: str = "dense",
    *,
    method: str = "l1",
    residual: str | None = None,
    images: int = 500,
    trust: bool = False,
    model: nn.Module | None = None,
    data: object = None,
    loss: str | Callable[..., Any] | None = None,
    metric: str | Callable[..., Any] | None = None,
) -> Sensitivity:
    """``proprune sensitivity``: accuracy of each group of channels against the share removed.

    Args:
        run: a finished run, or a module, which takes the images of ``data`` as they are.
        residual: whether layers that meet in an addition are judged as one (``coupled``) or each alone (``free``);
            None: as the run was pruned.
        images: how many are looked at, spread evenly.
        trust: code that the run names for model, data, loss and metric may be imported and called.
        model, data, loss, metric: what was handed to the run as an object; for a module, ``data`` (as `run_prune`
            takes them) and, where its targets are numbers, ``loss`` and ``metric``.

    Raises:
        InputError: the directory is not a finished run, it names code and is not trusted, or the method scores no
            channels.
        ProPruneError: whatever else the command reports, and objects that are no module, no data, or do not fit.
    """
    from proprune_cli.flow.handed import scan

    return scan(
        run,
        {"network": network, "method": method, "residual": residual, "images": images, "trust": trust},
        model=model,
        data=data,
        own={"loss": loss, "metric": metric},
    )


def run_compile(
    source: Paths | nn.Module,
    out: Paths,
    *,
    board: str = "pynq-z2",
    array: str | None = None,
    calibration: object = None,
    network: str | None = None,
    batch: int = 1,
) -> Artifact:
    """``proprune compile``: a run directory, an ONNX file or a module to the artifact file ``out``.

    Args:
        source: a module is copied, and compiled as it is in eval mode.
        calibration: an ``.npy`` file or a data set's name; or images [N, C, H, W] as the network takes them, an array
            or tensor; or data as `run_prune` takes them, of which the (training) images are used. At most 500 are.
            A run has its own; a module and an ONNX file need them.
        batch: images per start.
        network: of a run, "pruned" (None is that, too), "dense" or "thin".

    Raises:
        InputError: the source or the calibration images are missing or damaged, or the run has no such network.
        UnsupportedError: the network asks for something the engine does not do, or is too large.
        UsageError: there is no such board or array, or an option is of another type.
    """
    from proprune_cli.flow.handed import compiled, path_of

    place = path_of(out, "out")
    artifact = compiled(source, calibration, {"board": board, "array": array, "network": network, "batch": batch})
    artifact.save(place)
    return artifact


def run_artifact(
    artifact: Paths, images: object, board: str = "emulated:pynq-z2", *, raw: bool = False
) -> dict[str, NDArray[Any]]:
    """``proprune run``: images through a compiled network; its outputs by their names, the same bytes wherever it runs.

    Args:
        images: float32 [N, C, H, W], an array or a tensor, as the network takes them; uint8 too, where the network
            normalises them itself; int8 codes where ``raw``.
        board: ``emulated:NAME``, ``interpreter``, or ``cpu`` (ONNX Runtime).
        raw: codes in and out instead of real values.

    Returns:
        Of each output [N, …]: float32 (what the host computes: as the operator gives it), or int8 [N, C, H, W].

    Raises:
        InputError: the artifact is missing or damaged, or the images do not fit it.
        BoardError: it was compiled for another contract, or the board does not carry its array.
        UsageError: there is no such board.

    Warns:
        UserWarning: many values lie beyond the range that the network was calibrated with.
    """
    from proprune_cli.flow.handed import outputs_of, path_of

    return outputs_of(path_of(artifact, "artifact"), images, board, raw)


def run_deploy(artifact: Paths, board: str) -> DeployReport:
    """``proprune deploy``: the artifact on ``board``, every byte of its golden output compared.

    No simulated board is ever chosen by itself: name it.

    Raises:
        InputError: the artifact is missing or damaged.
        BoardError: the board cannot be reached, has another engine, or answered one byte differently.
        UsageError: there is no such board.
    """
    from proprune_cli.artifact import load_artifact
    from proprune_cli.flow.execute import deploy
    from proprune_cli.flow.handed import path_of, text_of

    path = path_of(artifact, "artifact")
    return deploy(load_artifact(path), text_of(board, "board"), str(path))


def run_inspect(artifact: Paths) -> Artifact:
    """``proprune inspect``: what is in an artifact, of which every bit was verified.

    Its ``plan`` says what the compiler did with each layer, ``report`` how quantisation fared, ``program`` what the
    engine reads, ``qdq`` holds the quantised model as an ONNX file, and ``manifest().to_json()`` is the rest.

    Raises:
        InputError: the artifact is missing or damaged.
    """
    from proprune_cli.artifact import load_artifact
    from proprune_cli.flow.handed import path_of

    return load_artifact(path_of(artifact, "artifact"))


def run_bench(artifact: Paths, board: str = "emulated:pynq-z2", *, network: str | None = None) -> BenchRecord:
    """``proprune bench``: an artifact's figures, predicted for ``emulated:<board>`` or measured on ``cpu``.

    Args:
        artifact: a ``.ppr`` file, or a run directory, of which ``network`` is compiled for ``board``: "pruned" (None is
            that, too), "dense" or "thin".

    Raises:
        InputError: the artifact is missing or damaged, or the run has no such network.
        BoardError: it was compiled for another contract.
        UnsupportedError: the run's network does not compile for the board.
    """
    from proprune_cli.flow.benchmark import bench
    from proprune_cli.flow.handed import path_of, text_of

    named = None if network is None else text_of(network, "network")
    return bench(path_of(artifact, "artifact"), text_of(board, "board"), named)
