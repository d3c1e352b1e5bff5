"""Predicted cycles and MAC utilisation of every network on every array, and the prune efficiency of resnet18."""

from __future__ import annotations

import sys
import time

from benchmarks.networks import LARGE, NETWORKS, PRUNED, SMALL, Network, network
from benchmarks.predicted import predict, quantised
from proprune_cli.accel.array import array_names
from proprune_cli.errors import ProPruneError

HEAD = (
    f"{'network':24} {'array':10} {'board':8} {'cycles':>10} {'ms':>9} {'MMAC':>8} {'utilised':>9} {'spatial':>8} "
    f"{'compile s':>9}"
)


def show(net: Network) -> dict[str, tuple[int, int]]:
    """Print a network's rows as they are found; its cycles and MACs for each array."""
    figures: dict[str, tuple[int, int]] = {}
    try:
        graph = quantised(net)
        for array in array_names():
            start = time.perf_counter()
            p = predict(graph, array)
            seconds = time.perf_counter() - start
            figures[array] = (p.cycles, p.macs)
            print(
                f"{net.name:24} {array:10} {p.board:8} {p.cycles:10d} {p.latency_ms:9.3f} {p.macs / 1e6:8.1f} "
                f"{p.utilisation:9.1%} {p.spatial_utilisation:8.1%} {seconds:9.2f}",
                flush=True,
            )
    except ProPruneError as error:
        print(f"{net.name:24} not compiled: {error}", flush=True)
    return figures


def main(networks: tuple[Network, ...] = (*LARGE, *SMALL)) -> None:
    print(HEAD)
    figures = {n: show(n) for n in networks}
    whole = network("resnet18-224")
    if whole not in figures:
        return
    halved = show(PRUNED)
    for array, (dense, dense_macs) in figures[whole].items():
        pruned, macs = halved[array]
        print(
            f"{array}: resnet18 at half its channels: {dense_macs / macs:.2f}x fewer operations, "
            f"{dense / pruned:.2f}x faster, prune efficiency {dense / pruned / (dense_macs / macs):.3f}"
        )


if __name__ == "__main__":
    wanted = sys.argv[1:]
    main(tuple(n for n in NETWORKS if n.name in wanted) if wanted else (*LARGE, *SMALL))
