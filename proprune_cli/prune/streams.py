"""Free branches of one stream: how wide the stream is for given branches, and which channels they had better share.

The array computes channels in groups, so a branch costs as much as the groups of the stream that it touches. Channels
of a stream are therefore put into clusters of ``multiple`` channels that the branches value alike, and each branch
keeps whole clusters; the compiler permutes the network's channels so that a cluster is a group of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from proprune_cli.channels.count import Sizes
from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.labels import Ids
from proprune_cli.prune.budget import Candidate

Scores = npt.NDArray[np.float64]


class StreamSizes:
    """Sizes of streams as functions of the sizes of their branches, where each keeps the first of its ranking."""

    def __init__(self, channels: ChannelMap, candidates: Sequence[Candidate]) -> None:
        self._ranks: list[tuple[int, Ids, Ids]] = []
        """Stream; its branches; rank of every channel of the stream in every branch, [branches, channels]."""
        rankings = {c.position: c.ranking() for c in candidates}
        for place, group in enumerate(channels.groups):
            if not group.branches or group.held:
                continue
            ranks = np.full((len(group.branches), group.channels), np.iinfo(np.int64).max)
            for row, branch in enumerate(group.branches):
                of = channels.groups[branch]
                ranking = rankings.get(branch, np.zeros(0, dtype=np.int64))
                own = np.full(of.channels, -1)  # a branch that is not scored stays whole
                own[ranking] = np.arange(len(ranking))
                if of.feeds is not None:
                    np.minimum.at(ranks[row], of.feeds, own)
            self._ranks.append((place, np.array(group.branches), ranks))

    def complete(self, sizes: Sizes) -> Sizes:
        """``sizes`` with those of streams filled in."""
        if not self._ranks:
            return sizes
        sizes = sizes.copy()
        for place, branches, ranks in self._ranks:
            sizes[place] = int((ranks < sizes[branches][:, None]).any(axis=0).sum())
        return sizes


def aligned_branches(channels: ChannelMap, candidates: Sequence[Candidate], multiple: int) -> list[Candidate]:
    """Candidates whose free branches keep whole clusters of their stream's channels.

    A cluster's score is the mean of its channels'. Branches of streams with fewer than two free branches, and all of
    them where ``multiple`` is 1, choose channel by channel.
    """
    found = list(candidates)
    at = {c.position: number for number, c in enumerate(candidates)}
    for group in channels.groups:
        branches = [b for b in group.branches if b in at]
        if multiple == 1 or not branches:
            continue
        value = np.zeros((len(branches), group.channels))
        for row, branch in enumerate(branches):
            feeds = channels.groups[branch].feeds
            if feeds is not None:
                np.maximum.at(value[row], feeds, found[at[branch]].scores)
        cluster = clusters(value, multiple)
        for branch in branches:
            feeds = channels.groups[branch].feeds
            if feeds is not None:
                found[at[branch]] = _clustered(found[at[branch]], cluster[feeds], multiple)
    return found


def clusters(value: Scores, size: int) -> Ids:
    """Number of the cluster of every channel; each has ``size`` channels, the last what remains.

    Greedy: the channel that is valued most, with its nearest neighbours in the space of the branches' values.

    Args:
        value: importance of every channel to every branch, float64 [branches, channels].
    """
    channels = value.shape[1]
    points = value.T
    order = np.argsort(-points.sum(axis=1), kind="stable")
    free = np.ones(channels, dtype=np.bool_)
    cluster = np.zeros(channels, dtype=np.int64)
    number = 0
    for first in order:
        if not free[first]:
            continue
        distance = ((points - points[first]) ** 2).sum(axis=1)
        distance[~free] = np.inf
        distance[first] = -1.0
        chosen = np.argsort(distance, kind="stable")[: min(size, int(free.sum()))]
        cluster[chosen] = number
        free[chosen] = False
        number += 1
    return cluster


def _clustered(candidate: Candidate, cluster: Ids, size: int) -> Candidate:
    count = np.bincount(cluster)
    mean = np.bincount(cluster, weights=candidate.scores) / np.maximum(count, 1)
    scores = mean[cluster]
    partial = count[cluster] < size  # the cluster of what remains goes first, or sizes would not fill clusters
    order = np.lexsort((np.arange(len(cluster)), cluster, -scores, partial))
    return replace(candidate, scores=scores, order=order.astype(np.int64))
