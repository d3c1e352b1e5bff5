"""proprune: from a PyTorch CNN to a PYNQ FPGA board. The Python functions under the commands; see docs/python-api.md.

Importing this package imports nothing heavy; each function imports what it needs when it is called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from proprune_cli.artifact import Artifact
    from proprune_cli.channels.shrunk import Shrunk
    from proprune_cli.measure.records import BenchRecord
    from proprune_cli.prune import PruneResult
    from proprune_cli.prune.sensitivity import Sensitivity

__all__ = ["load", "prune_module", "run_bench", "run_compile", "run_prune", "run_sensitivity"]

Paths = str | os.PathLike[str]


def __getattr__(name: str) -> str:
    """``__version__``, read from the installed distribution when it is asked for."""
    if name == "__version__":
        from proprune_cli.artifact.version import tool_version

        return tool_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(run: Paths, network: str = "pruned", *, trust: bool = False) -> nn.Module:
    """Network of a finished run, in eval mode, with its trained weights: ready to run, to train on, or to prune again.

    Args:
        run: run directory of ``proprune prune``. network: "pruned", "dense" or "thin".
        trust: a model that the run names as ``package.module:factory`` may be imported and called.

    Raises:
        InputError: the directory is not a finished run, its files are damaged, or it names code and is not trusted.
    """
    from proprune_cli.prune import load_run

    return load_run(Path(run), network, trust=trust)


def run_prune(out: Paths, *, model: str, data: str, force: bool = False, **options: Any) -> PruneResult:
    """``proprune prune``: train, prune, fine-tune and export into the run directory ``out``, from where it stopped.

    Args:
        model, data: as ``--model`` and ``--data``. force: go on although the run was started with other options.
        options: fields of `proprune_cli.prune.PruneOptions`; ``budget`` may be text such as ``"ms=40%"``, and those of
            `TrainOptions` are written ``train={"lr": 0.05}``.

    Raises:
        BudgetError: the budget cannot be met, and nothing was trained; or it was missed, and the finished run is in
            ``out`` all the same.
        ProPruneError: whatever the command reports.
    """
    from proprune_cli.config import prune_options
    from proprune_cli.flow.prune import missed, prune

    train: dict[str, Any] = options.pop("train", {})
    given = {"model": model, "data": data, **options, **{f"train.{name}": value for name, value in train.items()}}
    asked = prune_options(None, given)
    result, checked = prune(asked, Path(out), force=force)
    error = missed(asked, Path(out), result, checked)
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
    from proprune_cli.flow.prune import module_options
    from proprune_cli.prune.shrinking import prune_module

    return prune_module(module, shape, *module_options(options))


def run_sensitivity(
    run: Paths,
    network: str = "dense",
    *,
    method: str = "l1",
    residual: str | None = None,
    images: int = 500,
    trust: bool = False,
) -> Sensitivity:
    """``proprune sensitivity``: accuracy of each group of channels against the share removed.

    Args:
        residual: whether layers that meet in an addition are judged as one (``coupled``) or each alone (``free``);
            None: as the run was pruned.
        trust: code that the run names for model, data, loss and metric may be imported and called.

    Raises:
        InputError: the directory is not a finished run, it names code and is not trusted, or the method scores no
            channels.
    """
    from proprune_cli.flow.sensitivity import scan_run
    from proprune_cli.prune.sensitivity import SHARES

    return scan_run(
        Path(run),
        network=network,
        method=method,
        residual=residual,
        shares=list(SHARES),
        images=images,
        trust=trust,
    )


def run_compile(
    source: Paths,
    out: Paths,
    *,
    board: str = "pynq-z2",
    array: str | None = None,
    calibration: str | None = None,
    network: str | None = None,
) -> Artifact:
    """``proprune compile``: a run directory or an ONNX file to the artifact file ``out``.

    Args:
        network: of a run, "pruned" (None is that, too), "dense" or "thin".

    Raises:
        InputError: the source or the calibration images are missing or damaged, or the run has no such network.
        UnsupportedError: the network asks for something the engine does not do, or is too large.
    """
    from proprune_cli.compile.options import CompileOptions
    from proprune_cli.flow.build import build

    artifact = build(Path(source), CompileOptions(board, array, calibration, network))
    artifact.save(Path(out))
    return artifact


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

    return bench(Path(artifact), board, network)
