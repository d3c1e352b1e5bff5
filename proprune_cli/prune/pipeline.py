"""A pruning run from start to end: dense training, pruning, fine-tuning, the thin baseline, export."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.prune.batches import derived_seed
from proprune_cli.prune.data import Dataset, load_data
from proprune_cli.prune.export import to_onnx
from proprune_cli.prune.loop import CHECKPOINT, accuracy, default_rate, train
from proprune_cli.prune.methods import method_named
from proprune_cli.prune.models import build_model
from proprune_cli.prune.objective import CostModel
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.prune.progress import Progress, SilentProgress
from proprune_cli.prune.result import GroupRow, LayerRow, NetworkFigures, PruneResult
from proprune_cli.prune.saved import SOURCE_ONNX, Architecture, save_network
from proprune_cli.prune.shrinking import Shrunk, prune_network
from proprune_cli.prune.surgery import Cuts, shrink
from proprune_cli.prune.tensors import pack, read_weights, restore, state, unpack
from proprune_cli.prune.trace import example_input
from proprune_cli.prune.workspace import Stage, Workspace
from proprune_cli.prune.zoo.layers import initialise

_WEIGHTS = "weights.safetensors"
_REPORT = "report.json"


def run_pipeline(
    options: PruneOptions, out: Workspace, progress: Progress | None, cost_model: CostModel | None
) -> PruneResult:
    """See `proprune_cli.prune.run`. torch's thread count and global generator are given back as they were.

    Raises:
        InputError: model, data, weights, budget or method are wrong, or training diverged.
        SurgeryError: the pruned network does not compute what the masked network computes.
        UnsupportedError: the network cannot be traced, imported or exported.
    """
    method_named(options.method)
    threads = torch.get_num_threads()
    torch.set_num_threads(options.train.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            return _Run(options, out, progress or SilentProgress(), cost_model).all()
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Network:
    """A network of the run, its cuts, and what was measured of it."""

    model: nn.Module
    cuts: Cuts
    figures: NetworkFigures


class _Run:
    def __init__(self, options: PruneOptions, out: Workspace, progress: Progress, cost_model: CostModel | None) -> None:
        self.options, self.out, self.progress, self.cost_model = options, out, progress, cost_model
        self.data: Dataset = load_data(
            options.data, data_dir=options.data_dir, validation=options.validation, seed=options.seed
        )
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
        self.source = self._keep_onnx()
        torch.manual_seed(derived_seed(options.seed, "model"))
        self.dense = build_model(self.source, self.data.in_channels, len(self.data.classes), self.data.size)
        if options.weights is not None:
            restore(self.dense, read_weights(options.weights), str(options.weights))
        self.peak = default_rate(self.dense, options.train)
        self.example = example_input(self.data.in_channels, self.data.size)
        self.base: dict[str, Any] = {
            "data": self.data.fingerprint(),
            "model": options.model,
            "structure": hashlib.sha256(str(self.dense).encode()).hexdigest(),
            "train": asdict(options.train),
            "seed": options.seed,
        }

    def all(self) -> PruneResult:
        """Every phase, each skipped where an earlier process finished it."""
        options = self.options
        dense = self._dense()
        shrunk, pruned = self._pruned(dense)
        tuning_peak = options.train.finetune_lr or self.peak / 2
        tuned = self._trained(
            "finetune",
            pruned.model,
            pruned.cuts,
            options.tuning_epochs,
            tuning_peak,
            "fine-tuning",
            (shrunk.macs, shrunk.params),
        )
        thin = self._thin(shrunk) if options.thin and options.dense_epochs + options.tuning_epochs > 0 else None
        files = self._publish(dense, tuned, thin)
        dense_size = replace(dense.figures, macs=shrunk.dense_macs, params=shrunk.dense_params)
        result = PruneResult(
            dense=dense_size,
            pruned=pruned.figures,
            finetuned=tuned.figures,
            thin=None if thin is None else thin.figures,
            layers=shrunk.layers,
            groups=shrunk.groups,
            budget=str(options.budget),
            achieved=shrunk.achieved,
            verification_error=shrunk.error,
            notes=shrunk.notes,
            files=(*files, "results.json"),
        )
        self.out.publish("results.json", _json_bytes(result.to_json()))
        return result

    def _keep_onnx(self) -> str:
        """A model from an ONNX file is copied into the run, which then needs the file no more."""
        name = self.options.model.partition("?")[0]
        if not name.endswith(".onnx"):
            return self.options.model
        copy = self.out.path / SOURCE_ONNX
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise InputError(
                f"the model cannot be read: {error.strerror}", where=f"--model {name}", remedy="check the path"
            ) from error
        self.out.record("source", hashlib.sha256(data).hexdigest())
        self.out.publish(SOURCE_ONNX, data)
        return str(copy)

    def _dense(self) -> _Network:
        if self.options.dense_epochs:
            # A budget that cannot be met, or a network that cannot be pruned, shows before hours of training.
            prune_network(self.dense, self.data.in_channels, self.data.size, self.options, self.cost_model)
        size = (0, 0)  # the channel map gives them with the pruning step
        return self._trained("dense", self.dense, {}, self.options.dense_epochs, self.peak, "dense training", size)

    def _trained(
        self, name: str, model: nn.Module, cuts: Cuts, epochs: int, peak: float, label: str, size: tuple[int, int]
    ) -> _Network:
        """Train ``model`` in a stage of its own, which is keyed by the weights it starts from."""
        start = hashlib.sha256(pack(state(model))).hexdigest()
        inputs = {**self.base, "start": start, "epochs": epochs, "peak": peak}
        stage = self.out.stage(name, inputs)
        if stage.done:
            figures = self._reload(stage, name, model)
            return _Network(model.eval(), cuts, figures)
        records = []
        if epochs:
            records = train(
                model,
                self.data,
                self.options.train,
                epochs=epochs,
                peak=peak,
                seed=self.options.seed,
                label=label,
                stage=stage,
                progress=self.progress,
            )
        figures = self._measure(model, *size)
        stage.write(_WEIGHTS, pack(state(model)))
        history = [asdict(r) for r in records]
        stage.write(_REPORT, _json_bytes({"figures": asdict(figures), "epochs": history}))
        stage.remove(CHECKPOINT)
        stage.commit()
        self.progress.note(f"{label}: test accuracy {figures.test_accuracy:.2f} %")
        return _Network(model.eval(), cuts, figures)

    def _reload(self, stage: Stage, name: str, model: nn.Module) -> NetworkFigures:
        where = f"{self.out.path}/stages/{name}"
        restore(model, unpack(_must(stage.read(_WEIGHTS), where), where)[0], where)
        return NetworkFigures(**json.loads(_must(stage.read(_REPORT), where))["figures"])

    def _measure(self, model: nn.Module, macs: int, params: int) -> NetworkFigures:
        return NetworkFigures(
            macs, params, accuracy(model, self.data, self.data.test), accuracy(model, self.data, self.data.validation)
        )

    def _pruned(self, dense: _Network) -> tuple[Shrunk, _Network]:
        options = self.options
        inputs = {
            **self.base,
            "start": hashlib.sha256(pack(state(dense.model))).hexdigest(),
            "method": options.method,
            "budget": str(options.budget),
            "scope": options.scope,
            "multiple": options.multiple,
            "min_keep": options.min_keep,
            "exclude": list(options.exclude),
            "cost_model": None if self.cost_model is None else self.cost_model.name,
        }
        stage = self.out.stage("prune", inputs)
        if stage.done:
            shrunk, figures = self._stored_pruning(stage, dense.model)
            return shrunk, _Network(shrunk.model, shrunk.cuts, figures)
        shrunk = prune_network(dense.model, self.data.in_channels, self.data.size, options, self.cost_model)
        figures = self._measure(shrunk.model, shrunk.macs, shrunk.params)
        report = {k: v for k, v in vars(shrunk).items() if k not in ("model", "groups", "layers")}
        report |= {"groups": [asdict(g) for g in shrunk.groups], "layers": [asdict(r) for r in shrunk.layers]}
        stage.write(_REPORT, _json_bytes({"shrunk": report, "figures": asdict(figures)}))
        stage.commit()
        for note in shrunk.notes:
            self.progress.note(f"note: {note}")
        self.progress.note(f"pruned to {shrunk.macs / shrunk.dense_macs:.1%} of the operations")
        return shrunk, _Network(shrunk.model, shrunk.cuts, figures)

    def _stored_pruning(self, stage: Stage, dense: nn.Module) -> tuple[Shrunk, NetworkFigures]:
        document = json.loads(_must(stage.read(_REPORT), f"{self.out.path}/stages/prune"))
        stored: dict[str, Any] = document["shrunk"]
        cuts: Cuts = {t: {int(d): kept for d, kept in axes.items()} for t, axes in stored.pop("cuts").items()}
        groups = tuple(GroupRow.from_json(g) for g in stored.pop("groups"))
        layers = tuple(LayerRow(**r) for r in stored.pop("layers"))
        notes = tuple(stored.pop("notes"))
        model = shrink(dense, cuts).eval()
        shrunk = Shrunk(model=model, cuts=cuts, groups=groups, layers=layers, notes=notes, **stored)
        return shrunk, NetworkFigures(**document["figures"])

    def _thin(self, shrunk: Shrunk) -> _Network:
        """The same architecture, plainly narrower and from fresh weights, with no more operations than the pruned."""
        torch.manual_seed(derived_seed(self.options.seed, "thin"))
        template = build_model(self.source, self.data.in_channels, len(self.data.classes), self.data.size)
        target = Budget("ops", min(shrunk.macs / shrunk.dense_macs, 1 - 1e-9))
        plan = replace(self.options, method="random", budget=target, scope="layer")
        narrow = prune_network(template, self.data.in_channels, self.data.size, plan)
        torch.manual_seed(derived_seed(self.options.seed, "thin weights"))
        model = initialise(narrow.model)
        epochs = self.options.dense_epochs + self.options.tuning_epochs
        return self._trained(
            "thin", model, narrow.cuts, epochs, self.peak, "thin network", (narrow.macs, narrow.params)
        )

    def _publish(self, dense: _Network, tuned: _Network, thin: _Network | None) -> list[str]:
        networks = [("pruned", "model.onnx", tuned), ("dense", "dense.onnx", dense)]
        networks += [("thin", "thin.onnx", thin)] if thin is not None else []
        files: list[str] = []
        for name, onnx_name, network in networks:
            stage = self.out.stage(f"export-{name}", {"start": hashlib.sha256(pack(state(network.model))).hexdigest()})
            if not stage.done:
                stage.write(onnx_name, to_onnx(network.model, self.example, name))
                stage.commit()
            self.out.publish(onnx_name, _must(stage.read(onnx_name), onnx_name))
            architecture = Architecture(
                self.options.model, self.data.in_channels, len(self.data.classes), self.data.size, network.cuts
            )
            files += [onnx_name, *save_network(self.out.publish, name, architecture, network.model)]
        calibration = self.data.calibration_images(self.options.calibration)
        self.out.publish("calibration.npy", _npy(calibration))
        files.append("calibration.npy")
        if self.options.test_images:
            count = min(self.options.test_images, len(self.data.test))
            index = np.linspace(0, len(self.data.test) - 1, count, dtype=np.int64)
            part = self.data.test.take(index)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, images=self.data.normalise(part.images), labels=part.labels)
            self.out.publish("test.npz", buffer.getvalue())
            files.append("test.npz")
        return files


def _must(data: bytes | None, where: str) -> bytes:
    if data is None:
        raise InputError("a file of a finished stage is gone", where=where, remedy="run again with --force")
    return data


def _npy(array: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _json_bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()
