"""Where a sensitivity scan finds its network and its data: in a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    options: dict[str, Any] = read_options(run)
    for name, spec in (("data", options["data"]), *((n, options["train"].get(n)) for n in ("loss", "metric"))):
        if not trust:
            refuse_stored(spec, f"{run}, {name}")
    architecture, model = load_bare(run, network, trust=trust)
    where = data_dir or (Path(options["data_dir"]) if options.get("data_dir") else None)
    data = load_data(options["data"], data_dir=where, validation=options["validation"], seed=options["seed"])
    if architecture.normalisation == data.as_stored().normalisation:
        data = data.as_stored()
    own = {name: options["train"].get(name) for name in ("loss", "metric")}
    return sensitivity(
        model,
        task_for(data, TrainOptions(**own)),
        method=method,
        residual=checked_residual(residual or options["residual"]),
        shares=shares,
        images=images,
        seed=options["seed"],
        progress=progress,
    )
