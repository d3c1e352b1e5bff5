"""The layers of a network of a finished run, as cost models see them."""

from __future__ import annotations

import json
from pathlib import Path

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.modules.probe import example_input
from proprune_cli.prune.saved import load_network
from proprune_cli.work.layer import LayerWork


def shapes_of_run(run: Path, network: str = "pruned") -> list[LayerWork]:
    """Convolutions and fully connected layers of ``network`` ("pruned", "dense" or "thin") in the run directory.

    Raises:
        InputError: the run is not finished, or its files are damaged.
    """
    model = load_network(run, network)
    document = json.loads((run / f"{network}.json").read_bytes())
    height, width = document["size"]
    table = CostTable(analyse(model, example_input(int(document["in_channels"]), (int(height), int(width)))))
    return table.layers(table.full)
