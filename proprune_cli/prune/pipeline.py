"""A pruning run from start to end: dense training, a schedule, the thin baseline, export."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.trace import trace
from proprune_cli.data.batches import derived_seed
from proprune_cli.data.dataset import Dataset
from proprune_cli.data.load import finished, load_data
from proprune_cli.errors import InputError, UsageError
from proprune_cli.files.limits import MODEL_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.files.records import value_of
from proprune_cli.modules.copying import copied, without_zeros
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import normalises, to_onnx
from proprune_cli.nets.models import build_model, fitting
from proprune_cli.nets.onnx_import import import_onnx
from proprune_cli.nets.zoo.layers import initialise
from proprune_cli.prune.budget import as_share
from proprune_cli.prune.given import NOTHING, Given, code_digest
from proprune_cli.prune.methods import method_named
from proprune_cli.prune.objective import CompiledModel, CostModel
from proprune_cli.prune.objectives import what_is_sought
from proprune_cli.prune.options import PREDICTED, WHOLE, Budget, PruneOptions
from proprune_cli.prune.phases import (
    Network,
    Phases,
    damage_reported,
    fingerprint,
    json_bytes,
    removal_key,
    stored,
)
from proprune_cli.prune.publish import publish
from proprune_cli.prune.result import NetworkFigures, PruneResult
from proprune_cli.prune.saved import SOURCE_ONNX
from proprune_cli.prune.schedules import SCHEDULES, Outcome, rehearse, schedule_of
from proprune_cli.prune.schedules.base import Fresh
from proprune_cli.prune.schedules.training import starts_fresh
from proprune_cli.prune.shrinking import resolved
from proprune_cli.prune.sparsity import idle_macs
from proprune_cli.prune.thin import as_fast, with_operations
from proprune_cli.prune.verdict import Verdict, judge
from proprune_cli.spec.factories import source_digest
from proprune_cli.spec.parse import parse_spec
from proprune_cli.train.device import reproducible, require_device
from proprune_cli.train.distillation import distillation_options
from proprune_cli.train.freezing import freezing_hooks
from proprune_cli.train.loop import default_rate
from proprune_cli.train.progress import Progress, SilentProgress
from proprune_cli.train.task import task_for, try_task
from proprune_cli.train.tensors import read_weights, restore
from proprune_cli.train.workspace import Workspace


def run_pipeline(
    options: PruneOptions,
    out: Workspace,
    progress: Progress | None,
    cost_model: CostModel | None,
    compilable: Callable[[bytes], None] | None = None,
    given: Given = NOTHING,
    models: Mapping[str, CompiledModel] | None = None,
) -> PruneResult:
    """See `proprune_cli.prune.run`. torch's thread count and global generator are given back as they were.

    A budget that is missed is no error here: the result's verdict says so.

    Raises:
        BudgetError: no network that the options allow keeps to the budget; nothing is trained then.
        InputError: model, data, weights or budget are wrong, or training diverged.
        SurgeryError: the pruned network does not compute what the masked network computes.
        UnsupportedError: the network cannot be traced, imported or exported, or ``compilable`` refuses it.
        UsageError: method, schedule and their options do not go together.
    """
    with _ready(options, out, progress, cost_model, compilable, given, models) as run:
        return run.all()


def train_dense(
    options: PruneOptions,
    out: Workspace,
    progress: Progress | None,
    compilable: Callable[[bytes], None] | None = None,
) -> tuple[NetworkFigures, str]:
    """Train the dense network alone and publish it; a run with the same training may borrow its stage.

    Returns:
        Its figures and the name of the metric.

    Raises:
        ProPruneError: as `run_pipeline`.
    """
    with _ready(options, out, progress, None, compilable, NOTHING, None) as run:
        return run.dense_alone(), run.task.metric


def see_that_options_fit(options: PruneOptions) -> None:
    """See that method, schedule, freezing, teacher and their options go together.

    Raises:
        InputError: a method's options are not written as ``key=value``.
        UsageError: they do not, or one is unknown or out of range.
    """
    schedule_of(options)
    freezing_hooks(options.freeze)
    if distillation_options(options.distil) is None:
        return
    if options.train.loss is not None:
        raise UsageError(
            "a teacher's logits say nothing to a loss of your own",
            where="--distil",
            remedy="leave one of both out, or ask the teacher within your loss",
        )
    if options.dense_epochs == 0 and not options.comes_trained:
        raise UsageError("the dense network would teach what it never learned", where="--distil",
                         remedy="give it --epochs, or trained --weights")  # fmt: skip


@contextmanager
def _ready(
    options: PruneOptions,
    out: Workspace,
    progress: Progress | None,
    cost_model: CostModel | None,
    compilable: Callable[[bytes], None] | None,
    given: Given,
    models: Mapping[str, CompiledModel] | None,
) -> Generator[_Run, None, None]:
    """A run, before anything of it is trained."""
    see_that_options_fit(options)
    device = require_device(options.train.device)
    threads = torch.get_num_threads()
    torch.set_num_threads(options.train.threads)
    try:
        with reproducible(device):
            if device.type == "cpu" and torch.cuda.is_available() and progress is not None:
                progress.note("note: training on the CPU; torch sees a GPU, which --device cuda would use")
            run = _Run(options, out, progress or SilentProgress(), cost_model, given, models or {})
            if compilable is not None and options.dense_epochs + options.tuning_epochs:
                run.see_that(compilable)
            yield run
    finally:
        torch.set_num_threads(threads)


class _Run:
    def __init__(
        self,
        options: PruneOptions,
        out: Workspace,
        progress: Progress,
        cost_model: CostModel | None,
        given: Given,
        models: Mapping[str, CompiledModel],
    ) -> None:
        self.options, self.out, self.progress, self.cost_model, self.given = options, out, progress, cost_model, given
        self.data: Dataset = (
            load_data(options.data, data_dir=options.data_dir, validation=options.validation, seed=options.seed)
            if given.data is None
            else finished(given.data, options.validation, options.seed)
        )
        self.source = self._keep_onnx()
        if self.source.endswith(".onnx") and normalises(Path(self.source).read_bytes()):
            # An export of ours: the network has its normalisation, and takes images as they are stored.
            self.data = self.data.as_stored()
        if given.stored_images:
            self.data = self.data.as_stored()
        self.task = task_for(self.data, options.train, given.loss, given.metric)
        out.record(
            "data",
            {
                "name": self.data.name,
                "sha256": self.data.fingerprint(),
                "train": len(self.data.train),
                "validation": len(self.data.validation),
                "test": len(self.data.test),
                "classes": list(self.data.classes),
                "image": [self.data.in_channels, *self.data.size],
                "mean": list(self.data.mean),
                "std": list(self.data.std),
            },
        )
        for name, spec, own in (
            ("loss", options.train.loss, given.loss),
            ("metric", options.train.metric, given.metric),
        ):
            if spec is not None:
                # Stages know it by its name alone.
                digest = source_digest(parse_spec(spec, f"--{name}")) if own is None else code_digest(own)
                out.record(name, {"name": spec, "sha256": digest})
        torch.manual_seed(derived_seed(options.seed, "model"))
        self.dense = self._fresh()
        if given.model is not None:
            out.record("model", self._content(given.model))
        if options.weights is not None:
            restore(self.dense, read_weights(options.weights), str(options.weights))
        try_task(self.dense, self.task, torch.device(options.train.device))
        self.takes_budget = method_named(options.method)[0].finish == "cut"
        if cost_model is not None and options.budget.kind in PREDICTED:
            out.record("cost model", {"name": cost_model.name, "unit": cost_model.unit})
        compiled = self.takes_budget and options.budget.kind in PREDICTED and isinstance(cost_model, CompiledModel)
        if not compiled:
            options = resolved(self.dense, self.data.in_channels, self.data.size, options, cost_model)
        self.phases = Phases(
            options=options,
            task=self.task,
            out=out,
            progress=progress,
            cost_model=cost_model,
            example=example_input(self.data.in_channels, self.data.size),
            base={
                "data": self.data.fingerprint(),
                "model": options.model,
                "structure": hashlib.sha256(str(self.dense).encode()).hexdigest(),
                "train": asdict(options.train),
                "seed": options.seed,
            },
            peak=default_rate(self.dense, options.train),
        )
        self.budget = options.budget
        self.least: float | None = None
        """Of compiled networks, where those decide whether the budget is met: see `PruneResult.least`."""
        if compiled:
            self.phases = self._limited(self.phases)
        if options.objective is not None:
            self.phases = replace(self.phases, sought=what_is_sought(self.phases, self.dense, models))
        self.options = self.phases.options

    def _limited(self, phases: Phases) -> Phases:
        """The limit that the compiled network has to keep to, and the share of layer shapes' cost that will.

        Raises:
            BudgetError: no choice is within the budget.
            InputError: the dense network is.
        """
        options, unit = phases.options, "" if self.cost_model is None else self.cost_model.unit
        key = {**phases.base, **removal_key(options), "cost_model": self.cost_model and self.cost_model.name}
        stage = self.out.stage("budget", key)
        dense = without_zeros(self.dense)
        phases = phases.around(dense)
        if not stage.done:
            full = phases.compiled(dense)
            share = as_share(options.budget, full, unit)
            limited = replace(phases, limit=share.value * full)
            kept = limited.within(dense, replace(options, budget=share))
            # A share that nothing keeps to gives the smallest network.
            smallest = phases.prune(dense, replace(options, budget=replace(share, value=1 - WHOLE)))
            least = min(kept.figure, phases.compiled(smallest.model)) / full
            verdict = judge(share, kept.figure / full, least, compiled=True)
            if not verdict.met:
                raise verdict.impossible(options.multiple, options.min_keep)
            found = {"limit": limited.limit, "share": kept.budget.value, "least": least}
            stage.write("budget.json", json_bytes(found))
            stage.commit()
        found = stored(stage.read("budget.json"), "budget")
        with damage_reported(f"{self.out.path}/stages/budget"):
            share, limit = (value_of(float, found[name], name) for name in ("share", "limit"))
            # Budgets of before were kept without.
            self.least = value_of(float | None, found.get("least"), "least")
        budget = Budget(options.budget.kind, share)
        return replace(phases, limit=limit, options=replace(options, budget=budget))

    def see_that(self, compilable: Callable[[bytes], None]) -> None:
        """Ask ``compilable`` about the network before hours of training, once for each run.

        Raises:
            UnsupportedError: the network cannot be exported, or it is refused.
        """
        stage = self.out.stage("compilable", {"structure": self.phases.base["structure"]})
        if not stage.done:
            compilable(to_onnx(self.dense, self.phases.example, "network"))
            stage.commit()

    def _rehearse(self) -> None:
        """A budget that cannot be met, or a network that the method cannot take, shows before hours of training.

        Raises:
            BudgetError: no choice is within the budget.
        """
        found = rehearse(self.phases, self.dense)
        if found is None or not self.takes_budget or self.phases.limit is not None:
            return
        verdict = judge(self.budget, found.achieved, found.least)
        if not verdict.possible:
            raise verdict.impossible(self.options.multiple, self.options.min_keep)

    def _verdict(self, outcome: Outcome) -> Verdict | None:
        sought = self.phases.sought
        if sought and all(s.goal.kind == "ops" for s in sought):
            (goal,) = (s.goal for s in sought)
            if goal.budget is not None:
                return judge(goal.budget, outcome.shrunk.achieved, None)
        if not self.takes_budget or self.phases.limit is not None:
            return None
        return judge(self.budget, outcome.shrunk.achieved, outcome.shrunk.least)

    def all(self) -> PruneResult:
        """Every phase, each skipped where an earlier process finished it."""
        options = self.options
        initial = copied(self.dense)
        self._rehearse()
        dense = self._dense()
        lessons = distillation_options(options.distil)
        if lessons is not None:
            self.phases = replace(self.phases, teacher=(copied(dense.model), lessons))
        outcome = SCHEDULES[schedule_of(options)](self.phases, Fresh(dense, lambda: copied(initial)))
        shrunk, notes = outcome.shrunk, list(outcome.shrunk.notes + outcome.notes)
        thin = self._thin(outcome, notes) if options.thin and options.dense_epochs + options.tuning_epochs else None
        files = publish(
            {"pruned": outcome.tuned, "dense": dense, "thin": thin},
            self.options,
            self.data,
            self.out,
            self.phases.example,
        )
        if self._in_one_session and options.dense_epochs:
            notes.append(
                "the dense network was not trained, its accuracy is that of random weights; --reference trains it"
            )
        verdict = self._verdict(outcome)
        if verdict is not None and verdict.note:
            notes.append(verdict.note)
        dense_figures = replace(
            dense.figures,
            macs=shrunk.dense_macs,
            params=shrunk.dense_params,
            nonzero_macs=shrunk.dense_macs - idle_macs(dense.model, self.phases.example),
        )
        result = PruneResult(
            dense=dense_figures,
            pruned=outcome.pruned,
            finetuned=outcome.tuned.figures,
            thin=None if thin is None else thin.figures,
            layers=shrunk.layers,
            groups=shrunk.groups,
            budget=self.budget.said() if self.takes_budget else "",
            achieved=shrunk.achieved,
            verification_error=shrunk.error,
            notes=tuple(notes),
            files=(*files, "results.json"),
            metric=self.task.metric,
            verdict=verdict,
            least=shrunk.least if self.phases.limit is None else self.least,
        )
        self.out.publish("results.json", json_bytes(result.to_json()))
        return result

    def dense_alone(self) -> NetworkFigures:
        """Nothing but the dense network."""
        dense = self._dense()
        publish({"dense": dense}, self.options, self.data, self.out, self.phases.example)
        table = CostTable(analyse(dense.model, self.phases.example))
        macs = sum(layer.macs for layer in table.layers(table.full))
        return replace(dense.figures, macs=macs, params=table.params(table.full))

    def _fresh(self) -> nn.Module:
        """The network that ``--model`` names, which gives what the data's targets ask for."""
        data, targets = self.data, self.data.targets
        gives = "anything" if targets == "values" or self.task.own_loss is not None else targets
        if self.given.model is not None:
            where = f"--model {self.options.model}"
            return fitting(copied(self.given.model), data.in_channels, len(data.classes), data.size, gives, where)
        return build_model(self.source, data.in_channels, len(data.classes), data.size, gives=gives)

    def _content(self, model: nn.Module) -> dict[str, str]:
        """What tells one module that was handed over from another: its weights, its layers, and what it computes."""
        traced = trace(model, example_input(self.data.in_channels, self.data.size), f"--model {self.options.model}")
        steps = [(node.op, node.shape, [source.name for source in node.sources]) for node in traced.nodes]
        return {
            "weights": fingerprint(model),
            "layers": hashlib.sha256(str(model).encode()).hexdigest(),
            "operators": hashlib.sha256(repr(steps).encode()).hexdigest(),
        }

    def _keep_onnx(self) -> str:
        """A model from an ONNX file is copied into the run, which then needs the file no more."""
        name = self.options.model.partition("?")[0]
        if not name.endswith(".onnx"):
            return self.options.model
        copy = self.out.path / SOURCE_ONNX
        try:
            data = read_file(Path(name), MODEL_BYTES)
        except OSError as error:
            raise InputError(
                f"the model cannot be read: {error.strerror}", where=f"--model {name}", remedy="check the path"
            ) from error
        if not copy.exists():
            import_onnx(Path(name))  # what is wrong with it is said of the user's file, not of the copy
        self.out.record("source", hashlib.sha256(data).hexdigest())
        self.out.publish(SOURCE_ONNX, data)
        return str(copy)

    def _dense(self) -> Network:
        return self.phases.train(
            "dense",
            self.dense,
            {},
            epochs=0 if self._in_one_session else self.options.dense_epochs,
            peak=self.phases.peak,
            label="dense training",
            size=(0, 0),  # the channel map gives them with the pruning step
        )

    @property
    def _in_one_session(self) -> bool:
        """Nothing is made of the trained dense network, and nobody asked for it."""
        method, _ = method_named(self.options.method)
        wanted = self.options.reference or distillation_options(self.options.distil) is not None
        return method.objective and starts_fresh(self.options) and not wanted

    def _thin(self, outcome: Outcome, notes: list[str]) -> Network | None:
        """The same architecture, plainly narrower and from fresh weights, that costs no more than the pruned one."""
        options, shrunk = self.options, outcome.shrunk
        torch.manual_seed(derived_seed(options.seed, "thin"))
        template = self._fresh()
        try:
            if any(s.goal.kind != "ops" for s in self.phases.sought):
                narrow = as_fast(self.phases, template, outcome.tuned.model)
            else:
                narrow = with_operations(self.phases, template, outcome.operations / shrunk.dense_macs)
        except InputError as error:
            notes.append(f"no thin network to compare with: {error.what}")
            return None
        torch.manual_seed(derived_seed(options.seed, "thin weights"))
        return self.phases.train(
            "thin",
            initialise(narrow.model),
            narrow.cuts,
            epochs=options.dense_epochs + options.tuning_epochs,
            peak=self.phases.peak,
            label="thin network",
            size=(narrow.macs, narrow.params),
        )
