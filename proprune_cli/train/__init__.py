"""How networks learn: tasks, the loop and its hooks, freezing, devices, checkpoints.

What it may know: torch, data (`proprune_cli.data`), and modules seen from outside. Nothing of channels, pruning, zoos
or hardware: this room could be published on its own. Where files go it learns from the `Stage` protocol.

The way in is `train`, on a `Task`. Whatever acts on training is a `TrainHook`, and keeps its state in the checkpoint,
so that a killed run ends with the bytes of one that was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proprune_cli.lazy import face

if TYPE_CHECKING:
    from proprune_cli.train.hooks import TrainHook, TrainRun
    from proprune_cli.train.loop import evaluate, train
    from proprune_cli.train.options import TrainOptions
    from proprune_cli.train.progress import LineProgress, Progress, SilentProgress
    from proprune_cli.train.task import Task, task_for
    from proprune_cli.train.workspace import Stage, Workspace

__all__ = [
    "LineProgress",
    "Progress",
    "SilentProgress",
    "Stage",
    "Task",
    "TrainHook",
    "TrainOptions",
    "TrainRun",
    "Workspace",
    "evaluate",
    "task_for",
    "train",
]

__getattr__ = face(
    __name__,
    {
        "options": "TrainOptions",
        "task": "Task task_for",
        "loop": "evaluate train",
        "hooks": "TrainHook TrainRun",
        "workspace": "Stage Workspace",
        "progress": "LineProgress Progress SilentProgress",
    },
)
