"""What a pruning run found, and its JSON form (``results.json``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from proprune_cli.channels.rows import GroupRow, LayerRow
from proprune_cli.files.records import record_of, value_of
from proprune_cli.prune.verdict import Verdict

RESULT_VERSION = 1
NETWORK_FILES = {"pruned": "model.onnx", "dense": "dense.onnx", "thin": "thin.onnx"}
"""Networks of a finished run, and the file in its directory that each is exported to."""


@dataclass(frozen=True)
class NetworkFigures:
    """One network: size, and accuracy in percent; where the run has a metric of its own, 100 times its mean."""

    macs: int
    """Multiply-accumulates per image of convolutions and fully connected layers."""
    params: int
    """Trainable parameters."""
    test_accuracy: float
    """Percent of the test images."""
    validation_accuracy: float
    """Percent of the held-out training images."""
    nonzero_params: int = 0
    """Trainable parameters that are not zero; 0 in results of before they were counted."""
    nonzero_macs: int = 0
    """``macs`` without those whose weight is zero."""


@dataclass(frozen=True)
class PruneResult:
    """The outcome of `proprune_cli.prune.run`."""

    dense: NetworkFigures
    pruned: NetworkFigures
    """Straight after surgery."""
    finetuned: NetworkFigures
    thin: NetworkFigures | None
    layers: tuple[LayerRow, ...]
    groups: tuple[GroupRow, ...]
    budget: str
    """As it was given; empty where the method takes none."""
    achieved: float
    """What the budget counts: the share removed (ratio) or the share that remains (ops, params, cost)."""
    verification_error: float
    """Largest difference between the pruned and the masked network, relative to the largest output."""
    notes: tuple[str, ...]
    files: tuple[str, ...]
    """Paths inside the run directory."""
    metric: str = "accuracy"
    """What stands under accuracy."""
    verdict: Verdict | None = None
    """Whether the budget was met; None where the method takes none, where the compiled network decides
    (`proprune_cli.flow.prune.BudgetCheck`), and in results of before there were verdicts."""
    least: float | None = None
    """``achieved`` of the smallest network that the options allow; of compiled networks where those decide."""

    def to_json(self) -> dict[str, Any]:
        """Versioned JSON document."""
        document: dict[str, Any] = {"version": RESULT_VERSION, "kind": "prune-result", **asdict(self)}
        if self.verdict is not None:
            document["verdict"]["met"] = self.verdict.met
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PruneResult:
        """Inverse of `to_json`; the version has been checked by the caller."""

        def figures(row: dict[str, Any]) -> NetworkFigures:
            return record_of(NetworkFigures, row, "figures")

        verdict = value_of(dict[str, Any] | None, document.get("verdict"), "verdict")
        return cls(
            dense=figures(document["dense"]),
            pruned=figures(document["pruned"]),
            finetuned=figures(document["finetuned"]),
            thin=None if document["thin"] is None else figures(document["thin"]),
            layers=value_of(tuple[LayerRow, ...], document["layers"], "layers"),
            groups=value_of(tuple[GroupRow, ...], document["groups"], "groups"),
            budget=document["budget"],
            achieved=document["achieved"],
            verification_error=document["verification_error"],
            notes=tuple(document["notes"]),
            files=tuple(document["files"]),
            metric=document.get("metric", "accuracy"),
            verdict=None
            if verdict is None
            else record_of(Verdict, {k: v for k, v in verdict.items() if k != "met"}, "verdict"),
            least=value_of(float | None, document.get("least"), "least"),
        )
