"""Where a sensitivity scan finds its network and its data: in a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proprune_cli.errors import InputError
from proprune_cli.files.records import value_of
from proprune_cli.prune.given import NOTHING, Given
from proprune_cli.rundir import read_options
from proprune_cli.spec.handed import DATA

if TYPE_CHECKING:
    from proprune_cli.prune import TrainOptions
    from proprune_cli.prune.sensitivity import Sensitivity
    from proprune_cli.train.progress import Progress


def scan_run(
    run: Path,
    *,
    network: str,
    method: str,
    residual: str | None = None,
    shares: list[float],
    images: int,
    data_dir: Path | None = None,
    trust: bool = False,
    progress: Progress | None = None,
    given: Given = NOTHING,
) -> Sensitivity:
    """Scan the network ``network`` of the run directory on its own validation images.

    Args:
        trust: models, data, losses and metrics that the run names by import path may be imported and called.
        residual: ``coupled`` or ``free``; None: as the run was pruned.
        given: the objects that were handed to the run.

    Raises:
        InputError: the directory is no finished run, its data are not where they were, or an argument is wrong.
    """
    from proprune_cli.channels.residual import checked_residual
    from proprune_cli.data.load import finished, load_data
    from proprune_cli.prune import TrainOptions
    from proprune_cli.prune.saved import load_bare
    from proprune_cli.prune.sensitivity import sensitivity
    from proprune_cli.spec.factories import refuse_stored
    from proprune_cli.train.task import task_for

    asked = _recorded(run)
    own = {"data": given.data, "loss": given.loss, "metric": given.metric}
    for name, spec in (("data", asked.data), *asked.own.items()):
        if not trust and own[name] is None:
            refuse_stored(spec, f"{run}, {name}")
    architecture, model = load_bare(run, network, trust=trust, given=given.model)
    where = data_dir or (Path(asked.data_dir) if asked.data_dir else None)
    if given.data is not None:
        data = finished(given.data, asked.validation, asked.seed)
    elif asked.data == DATA:
        raise InputError(
            "the run's data were handed over as objects, not named",
            where=str(run),
            remedy="from Python, hand them over again with data=",
        )
    else:
        data = load_data(asked.data, data_dir=where, validation=asked.validation, seed=asked.seed)
    if architecture.normalisation == data.as_stored().normalisation:
        data = data.as_stored()
    return sensitivity(
        model,
        task_for(data, TrainOptions(loss=asked.own["loss"], metric=asked.own["metric"]), given.loss, given.metric),
        method=method,
        residual=checked_residual(residual or asked.residual),
        shares=shares,
        images=images,
        seed=asked.seed,
        progress=progress,
    )


def scan_module(
    given: Given,
    data: object,
    *,
    method: str,
    residual: str | None,
    shares: list[float],
    images: int,
    train: TrainOptions,
) -> Sensitivity:
    """Scan ``given.model``, which takes the images of ``data`` as they are.

    Args:
        data: one of the forms of `proprune_cli.data.objects`.
        train: what the loss and the metric are called.

    Raises:
        ProPruneError: module and data do not fit, or an argument is wrong.
    """
    from proprune_cli.channels.residual import checked_residual
    from proprune_cli.data.objects import scanned
    from proprune_cli.nets.models import fitting
    from proprune_cli.prune.sensitivity import sensitivity
    from proprune_cli.train.device import CPU
    from proprune_cli.train.task import task_for, try_task

    found = scanned(data, "data")
    task = task_for(found, train, given.loss, given.metric)
    assert given.model is not None, "that is what is scanned"
    gives = "anything" if found.targets == "values" or given.loss is not None else found.targets
    model = fitting(given.model, found.in_channels, len(found.classes), found.size, gives, "model")
    try_task(model, task, CPU)
    return sensitivity(
        model,
        task,
        method=method,
        residual=checked_residual(residual or "coupled"),
        shares=shares,
        images=images,
    )


@dataclass(frozen=True)
class _Recorded:
    """What a scan needs of a run's options. ``own``: import paths of the user's loss and metric."""

    data: str
    data_dir: str | None
    validation: float
    seed: int
    residual: str
    own: dict[str, Any]


def _recorded(run: Path) -> _Recorded:
    """The options that ``run`` recorded.

    Raises:
        InputError: it is no run, or its options are damaged.
    """
    options = read_options(run)
    try:
        found = _Recorded(
            data=value_of(str, options["data"], "data"),
            data_dir=value_of(str | None, options.get("data_dir"), "data_dir"),
            validation=value_of(float, options["validation"], "validation"),
            seed=value_of(int, options["seed"], "seed"),
            residual=value_of(str, options["residual"], "residual"),
            own={name: value_of(str | None, options["train"].get(name), name) for name in ("loss", "metric")},
        )
        if not 0 < found.validation < 1 or found.seed < 0:
            raise ValueError("validation or seed is out of range")
    except (KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"the run's options are damaged: {error}", where=str(run / "run.json"), remedy="run proprune prune again"
        ) from error
    return found
