"""The steps that every schedule is made of: train in a stage of its own, cut in a stage of its own, measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.shrunk import Removal, Shrunk
from proprune_cli.channels.surgery import Cuts, all_tensors, cuts_of, shrink
from proprune_cli.data.dataset import Dataset
from proprune_cli.errors import InputError, UsageError
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.records import record_of, value_of
from proprune_cli.modules.copying import copied
from proprune_cli.nets.export import to_onnx
from proprune_cli.prune.compiled_budget import Tried, within
from proprune_cli.prune.goals import Sought
from proprune_cli.prune.methods import Job, Method, Training, method_named
from proprune_cli.prune.methods.common.base import Slices
from proprune_cli.prune.objective import CompiledModel, CostModel
from proprune_cli.prune.options import PruneOptions
from proprune_cli.prune.result import NetworkFigures
from proprune_cli.prune.saliency import saliency
from proprune_cli.prune.shrinking import Floors, choose, prune_network
from proprune_cli.prune.sparsity import idle_macs, nonzero_params
from proprune_cli.train.device import on_device
from proprune_cli.train.distillation import Distillation, DistillationOptions
from proprune_cli.train.hooks import TrainHook
from proprune_cli.train.loop import CHECKPOINT, evaluate, train
from proprune_cli.train.progress import Progress
from proprune_cli.train.task import Task
from proprune_cli.train.tensors import pack, restore, state, unpack
from proprune_cli.train.workspace import Stage, Workspace

Compiling = TypeVar("Compiling", bound=CompiledModel)

_WEIGHTS = "weights.safetensors"
_REPORT = "report.json"
_COMPILE_IMAGES = 8
"""Calibration images where only the time of the compiled network counts."""


@dataclass
class Network:
    """A network of the run, its cuts, and what was measured of it."""

    model: nn.Module
    cuts: Cuts
    figures: NetworkFigures
    report: dict[str, Any]
    """What the hooks of its training report."""


@dataclass(frozen=True)
class Cut:
    """A smaller network and its figures."""

    shrunk: Shrunk
    figures: NetworkFigures


Shape = Callable[[nn.Module], Training]
"""How a network is trained; it may change the network first."""


@dataclass(frozen=True)
class Phases:
    """What a run's steps share."""

    options: PruneOptions
    task: Task
    out: Workspace
    progress: Progress
    cost_model: CostModel | None
    example: torch.Tensor
    base: dict[str, Any]
    """Whatever decides the outcome of every stage."""
    peak: float
    """Peak learning rate of dense training."""
    sought: tuple[Sought, ...] = ()
    """What the objective asks for."""
    exports: dict[str, tuple[nn.Module, bytes]] = field(default_factory=dict[str, tuple[nn.Module, bytes]], repr=False)
    """The network that was exported last, whose weights nobody changes."""
    limit: float | None = None
    """What the compiled network may cost, where the budget counts predicted milliseconds or millijoules."""
    teacher: tuple[nn.Module, DistillationOptions] | None = None
    """The network from whose outputs those that are trained learn, and how."""

    @property
    def data(self) -> Dataset:
        """Images and targets."""
        return self.task.data

    @property
    def device(self) -> torch.device:
        """Where networks are trained and measured."""
        return torch.device(self.options.train.device)

    @property
    def tuning_peak(self) -> float:
        """Peak learning rate of fine-tuning, and of methods that act during training from dense weights."""
        return self.options.train.finetune_lr or self.peak / 2

    def train(
        self,
        name: str,
        model: nn.Module,
        cuts: Cuts,
        *,
        epochs: float,
        peak: float,
        label: str,
        size: tuple[int, int],
        shape: Shape | None = None,
        key: dict[str, Any] | None = None,
        before: float = 0.0,
        after: float = 0.0,
    ) -> Network:
        """Train ``model`` in the stage ``name``, which is keyed by the weights it starts from and by ``key``.

        Args:
            size: its multiply-accumulates and parameters.
            shape: how it is trained, where not plainly; called with a copy of ``model`` that it may change.
            before, after: epochs of the trainings with which it shares one course of the learning rate.
        """
        inputs = {**self.base, "start": fingerprint(model), "epochs": epochs, "peak": peak, **(key or {})}
        if before or after:
            inputs["course"] = [before, after]
        lessons: list[TrainHook] = []
        if self.teacher is not None:
            lessons = [Distillation(*self.teacher)]
            inputs["distil"] = [asdict(self.teacher[1]), fingerprint(self.teacher[0])]
        stage = self.out.stage(name, inputs)
        if stage.done:
            kept = self._reload(stage, name, model, cuts)
            self.progress.note(f"{label}: done before, test accuracy {kept.figures.test_accuracy:.2f} %")
            return kept
        trained = model if shape is None else copied(model)
        training = Training([]) if shape is None else shape(trained)
        records = []
        if epochs:
            with on_device(trained, self.device):
                records = train(
                    trained,
                    self.task,
                    replace(self.options.train, **training.train),
                    epochs=epochs,
                    peak=peak,
                    seed=self.options.seed,
                    label=label,
                    stage=stage,
                    progress=self.progress,
                    hooks=[*lessons, *training.hooks],
                    before=before,
                    after=after,
                )
        if trained is not model:
            training.finalise()
            restore(model, state(trained), label)
        model.eval()
        figures = self.measure(model, *size)
        report = {hook.name: found for hook in training.hooks if (found := hook.report())}
        stage.write(_WEIGHTS, pack(state(model)))
        history = [asdict(r) for r in records]
        stage.write(_REPORT, json_bytes({"figures": asdict(figures), "epochs": history, "hooks": report}))
        stage.remove(CHECKPOINT)
        stage.commit()
        self.progress.note(f"{label}: test accuracy {figures.test_accuracy:.2f} %")
        return Network(model, cuts, figures, report)

    def by_method(self, model: nn.Module, epochs: float) -> Training:
        """How the run's method trains ``model``, which it may change.

        Raises:
            UsageError: the method does not act during training.
        """
        method, own = method_named(self.options.method)
        if method.training is None:
            raise UsageError(
                f"{method.name} does not act during training", where="--method", remedy="see docs/methods.md"
            )
        return method.training(
            Job(
                model,
                self.task,
                self.example,
                self.options,
                epochs,
                self._selection(model, method),
                self.cost_model,
                self.sought,
            ),
            own,
        )

    def _selection(self, model: nn.Module, method: Method) -> Callable[[], Slices]:
        if method.finish != "cut":
            return list
        channels = analyse(model, self.example, self.options.exclude)

        def would_go() -> Slices:
            choice = choose(channels, dict(all_tensors(model)), self.options, self.cost_model)
            slices: Slices = []
            for position, kept in choice.kept.items():
                group = channels.groups[position]
                gone = np.setdiff1d(np.arange(group.channels), kept)
                for member in group.members:
                    if member.role == "out" and len(gone):
                        index = torch.from_numpy(member.index[gone].reshape(-1))
                        slices.append((member.tensor, member.dim, index))
            return slices

        return would_go

    def cut(
        self, name: str, model: nn.Module, options: PruneOptions, *, last: bool = True, floors: Floors | None = None
    ) -> Cut:
        """Prune ``model`` as ``options`` say, in the stage ``name``; for the ``last`` time: within the limit."""
        name_of_cost = None if self.cost_model is None else self.cost_model.name
        limit = self.limit if last else None
        inputs = {**removal_key(options), "cost_model": name_of_cost, "limit": limit}
        return self.reduce(
            name,
            model,
            inputs,
            lambda: (
                self.prune(model, options, floors) if limit is None else self.within(model, options, floors).network
            ),
        )

    def within(self, model: nn.Module, options: PruneOptions, floors: Floors | None = None) -> Tried[Shrunk]:
        """`prune`, tightened or loosened until the compiled network keeps to the limit."""
        if self.limit is None:
            raise AssertionError("there is a limit")
        return within(
            self.limit,
            options.budget,
            lambda budget: self.prune(model, replace(options, budget=budget), floors),
            lambda shrunk: self.compiled(shrunk.model),
        )

    def compiled(self, model: nn.Module) -> float:
        """What a network costs once it is compiled.

        Raises:
            ProPruneError: it cannot be exported or compiled.
        """
        if not isinstance(self.cost_model, CompiledModel):
            raise AssertionError("only a model that compiles sets a limit")
        return self.compiled_by(self.cost_model, model)

    def compiled_by(self, cost_model: CompiledModel, model: nn.Module) -> float:
        """`compiled`, as another model counts it."""
        images = self.data.normalise(self.data.sample(_COMPILE_IMAGES))
        return cost_model.compiled(self._exported(model), images)

    def _exported(self, model: nn.Module) -> bytes:
        """The network in ONNX; asked for the same one again, by another model, what was made before."""
        last = self.exports.get("last")
        if last is None or last[0] is not model:
            last = self.exports["last"] = model, to_onnx(model, self.example, "network")
        return last[1]

    def around(self, model: nn.Module) -> Phases:
        """The same with a cost model that knows what stands between the layers of the dense ``model``.

        Raises:
            ProPruneError: it cannot be exported or compiled.
        """
        if not isinstance(self.cost_model, CompiledModel):
            raise AssertionError("only a model that compiles knows of more than layers")
        return replace(self, cost_model=self.knowing(self.cost_model, model))

    def knowing(self, cost_model: Compiling, model: nn.Module) -> Compiling:
        """``cost_model``, knowing what stands between the layers of the dense ``model``.

        Raises:
            ProPruneError: it cannot be exported or compiled.
        """
        images = self.data.normalise(self.data.sample(_COMPILE_IMAGES))
        table = CostTable(analyse(model, self.example))
        return cost_model.around(self._exported(model), images, table.layers(table.full))

    def reduce(self, name: str, model: nn.Module, key: dict[str, Any], make: Callable[[], Shrunk]) -> Cut:
        """Make a smaller network of ``model`` in the stage ``name``, keyed by its weights and by ``key``."""
        stage = self.out.stage(name, {**self.base, "start": fingerprint(model), **key})
        if stage.done:
            return self._stored(stage, model, name)
        shrunk = make()
        figures = self.measure(shrunk.model, shrunk.macs, shrunk.params)
        report = {k: v for k, v in vars(shrunk).items() if k not in ("model", "groups", "layers")}
        report |= {"groups": [asdict(g) for g in shrunk.groups], "layers": [asdict(r) for r in shrunk.layers]}
        stage.write(_REPORT, json_bytes({"shrunk": report, "figures": asdict(figures)}))
        # Removal may change what stays: constants of removed channels become biases of others.
        stage.write(_WEIGHTS, pack(state(shrunk.model)))
        stage.commit()
        for note in shrunk.notes:
            self.progress.note(f"note: {note}")
        self.progress.note(f"pruned to {shrunk.macs / shrunk.dense_macs:.1%} of the operations")
        return Cut(shrunk, figures)

    def prune(self, model: nn.Module, options: PruneOptions, floors: Floors | None = None) -> Shrunk:
        """`prune_network` with whatever the method asks for."""
        method, own = method_named(options.method)
        found = None
        if method.saliency is not None:
            with on_device(model, self.device):
                found = saliency(model, self.task, method.saliency(own))
        return prune_network(model, self.data.in_channels, self.data.size, options, self.cost_model, found, floors)

    def measure(self, model: nn.Module, macs: int, params: int) -> NetworkFigures:
        """Figures of a network with ``macs`` multiply-accumulates and ``params`` parameters."""
        with on_device(model, self.device):
            test, validation = (evaluate(model, self.task, s).accuracy for s in (self.data.test, self.data.validation))
        return NetworkFigures(
            macs=macs,
            params=params,
            test_accuracy=test,
            validation_accuracy=validation,
            nonzero_params=nonzero_params(model),
            nonzero_macs=max(0, macs - idle_macs(model, self.example)) if macs else 0,
        )

    def _stored(self, stage: Stage, dense: nn.Module, name: str) -> Cut:
        where = f"{self.out.path}/stages/{name}"
        document = stored(stage.read(_REPORT), where)
        with damage_reported(where):
            cuts = cuts_of(document["shrunk"].pop("cuts"))
            found = record_of(Removal, document["shrunk"], "shrunk")
            figures = record_of(NetworkFigures, document["figures"], "figures")
            model = shrink(dense, cuts).eval()
        restore(model, unpack(must(stage.read(_WEIGHTS), where), where)[0], where)
        return Cut(Shrunk(model=model, cuts=cuts, **vars(found)), figures)

    def _reload(self, stage: Stage, name: str, model: nn.Module, cuts: Cuts) -> Network:
        where = f"{self.out.path}/stages/{name}"
        restore(model, unpack(must(stage.read(_WEIGHTS), where), where)[0], where)
        document = stored(stage.read(_REPORT), where)
        with damage_reported(where):
            figures = record_of(NetworkFigures, document["figures"], "figures")
            return Network(model.eval(), cuts, figures, value_of(dict[str, Any], document["hooks"], "hooks"))


_ELSEWHERE = frozenset(
    {"model", "data", "data_dir", "weights", "train", "seed", "validation", "schedule", "rounds", "start", "freeze",
     "distil", "epochs", "finetune_epochs", "thin", "calibration", "test_images", "engine"}
)  # fmt: skip
"""Options that do not decide what is removed from given weights, or are in the key of every stage."""


def removal_key(options: PruneOptions) -> dict[str, Any]:
    """What of the options decides what is removed: all but those that are known not to."""
    return {name: value for name, value in options.to_json().items() if name not in _ELSEWHERE}


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of a network's weights."""
    return hashlib.sha256(pack(state(model))).hexdigest()


def must(data: bytes | None, where: str) -> bytes:
    """The file's content.

    Raises:
        InputError: it is gone.
    """
    if data is None:
        raise InputError("a file of a finished stage is gone", where=where, remedy="run again with --force")
    return data


def stored(data: bytes | None, where: str) -> dict[str, Any]:
    """The JSON object in a stage's file.

    Raises:
        InputError: it is gone, or damaged.
    """
    try:
        return parse_object(must(data, where))
    except ValueError as error:
        raise InputError(
            f"a file of a finished stage is damaged: {error}", where=where, remedy="run again with --force"
        ) from error


@contextmanager
def damage_reported(where: str) -> Generator[None, None, None]:
    """Values of a stage's file that are not what was written there become an error with a remedy.

    Raises:
        InputError: reading them failed.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise InputError(
            f"a file of a finished stage is damaged: {error!r}", where=where, remedy="run again with --force"
        ) from error


def json_bytes(document: dict[str, Any]) -> bytes:
    """A JSON file."""
    return (json.dumps(document, indent=1) + "\n").encode()
