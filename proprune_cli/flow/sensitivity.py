"""Where a sensitivity scan finds its network and its data: in a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proprune_cli.errors import InputError
from proprune_cli.files.records import value_of
from proprune_cli.rundir import read_options

if TYPE_CHECKING:
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
) -> Sensitivity:
    """Scan the network ``network`` of the run directory on its own validation images.

    Args:
        trust: models, data, losses and metrics that the run names by import path may be imported and called.
        residual: ``coupled`` or ``free``; None: as the run was pruned.

    Raises:
        InputError: the directory is no finished run, its data are not where they were, or an argument is wrong.
    """
    from proprune_cli.channels.residual import checked_residual
    from proprune_cli.data.load import load_data
    from proprune_cli.prune import TrainOptions
    from proprune_cli.prune.saved import load_bare
    from proprune_cli.prune.sensitivity import sensitivity
    from proprune_cli.spec.factories import refuse_stored
    from proprune_cli.train.task import task_for

    asked = _recorded(run)
    for name, spec in (("data", asked.data), *asked.own.items()):
        if not trust:
            refuse_stored(spec, f"{run}, {name}")
    architecture, model = load_bare(run, network, trust=trust)
    where = data_dir or (Path(asked.data_dir) if asked.data_dir else None)
    data = load_data(asked.data, data_dir=where, validation=asked.validation, seed=asked.seed)
    if architecture.normalisation == data.as_stored().normalisation:
        data = data.as_stored()
    return sensitivity(
        model,
        task_for(data, TrainOptions(loss=asked.own["loss"], metric=asked.own["metric"])),
        method=method,
        residual=checked_residual(residual or asked.residual),
        shares=shares,
        images=images,
        seed=asked.seed,
        progress=progress,
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
