"""Scores of pruned variants: a law that is known is found again, intervals hold, files of runs are read or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from proprune_cli.errors import InputError, UsageError
from proprune_cli.predict.accuracy import SCORES, Accuracy, Score, Variant, variants_of


def reached(operations: float, method: str, epochs: int, noise: float) -> tuple[float, float]:
    """Scores of a network of 10 classes by a law in logits: dense 92.8 % (logit 2.4 above chance)."""
    lost = {"l1": 1.0, "random": 2.0, "taylor": 0.9}[method] * -np.log2(operations)
    cut, finetuned = 2.4 - 1.5 * lost + noise, 2.4 - 0.5 * lost / np.log2(1 + epochs) + noise / 4
    return 10 + 90 / (1 + np.exp(-cut)), 10 + 90 / (1 + np.exp(-finetuned))


def drawn(count: int, seed: int, noise: float = 0.2) -> list[Variant]:
    rng = np.random.default_rng(seed)
    found: list[Variant] = []
    for _ in range(count):
        operations, method = float(rng.uniform(0.2, 0.9)), str(rng.choice(["l1", "random", "taylor"]))
        groups = tuple(float(x) for x in np.clip(np.sqrt(operations) * rng.uniform(0.8, 1.2, 4), 0.1, 1))
        epochs = int(rng.choice([3, 3, 6]))
        cut, finetuned = reached(operations, method, epochs, float(rng.normal(0, noise)))
        dense = 10 + 90 / (1 + np.exp(-2.4))
        parameters = float(np.mean(groups)) ** 2
        found.append(
            Variant("net on data", method, f"ops={operations:.2f}", dense, 10.0, 1000, operations, parameters, groups,
                    epochs, cut, finetuned)
        )  # fmt: skip
    return found


def off(predictor: Accuracy, variants: list[Variant], score: Score) -> float:
    truth = np.array([float(getattr(v, score)) for v in variants])
    return float(np.abs(predictor.predict(variants, score).value - truth).mean())


@pytest.mark.parametrize("score", SCORES)
def test_a_known_law_is_found_again(score: Score) -> None:
    unseen = drawn(200, 1, noise=0.0)
    spread = float(np.std([float(getattr(v, score)) for v in unseen]))
    assert off(Accuracy().fit(drawn(60, 0, noise=0.05)), unseen, score) < 0.25 * spread


@pytest.mark.parametrize("score", SCORES)
def test_intervals_hold_what_they_promise(score: Score) -> None:
    predictor, unseen = Accuracy().fit(drawn(80, 2)), drawn(400, 3)
    truth = np.array([float(getattr(v, score)) for v in unseen])
    for coverage in (0.5, 0.9):
        found = predictor.predict(unseen, score, coverage)
        held = ((found.low <= truth) & (truth <= found.high)).mean()
        assert coverage - 0.12 < held < coverage + 0.12
    assert found.source == "predicted, from 80 runs of net on data"


def test_scores_stay_between_chance_and_all_and_are_not_looked_at() -> None:
    predictor = Accuracy().fit(drawn(40, 4))
    extreme = [replace(v, operations=1e-4, groups=(0.01,)) for v in drawn(5, 5)]
    for score in SCORES:
        found = predictor.predict(extreme, score, 0.97)
        assert (found.low >= 10).all() and (found.high <= 100).all() and (found.low <= found.high).all()
        blind = [replace(v, cut=float("nan"), finetuned=float("nan")) for v in extreme]
        assert (predictor.predict(blind, score).value == predictor.predict(extreme, score).value).all()


def test_a_method_without_runs_lies_between_the_others() -> None:
    predictor = Accuracy().fit(drawn(90, 6, noise=0.05))
    one = drawn(1, 7)[0]
    said = {m: predictor.predict([replace(one, method=m)], "cut").value[0] for m in ("l1", "random", "taylor", "new")}
    assert min(said["l1"], said["random"]) < said["new"] < max(said["l1"], said["taylor"])


def test_parts_add_up_to_the_score() -> None:
    predictor = Accuracy().fit(drawn(40, 8))
    for variant in drawn(5, 9):
        for score in SCORES:
            parts = predictor.explain(variant, score)
            assert sum(parts.values()) == pytest.approx(float(predictor.predict([variant], score).value[0]))
            assert parts["dense"] == pytest.approx(variant.dense)


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    predictor, unseen = Accuracy().fit(drawn(40, 10)), drawn(10, 11)
    predictor.save(tmp_path / "accuracy.npz")
    again = Accuracy.load(tmp_path / "accuracy.npz")
    for score in SCORES:
        one, other = predictor.predict(unseen, score), again.predict(unseen, score)
        assert (one.value == other.value).all() and (one.low == other.low).all() and one.source == other.source
    whole = (tmp_path / "accuracy.npz").read_bytes()
    for cut in (0, 20, len(whole) // 2):
        (tmp_path / "cut.npz").write_bytes(whole[:cut])
        with pytest.raises(InputError, match="no predictor"):
            Accuracy.load(tmp_path / "cut.npz")
    with pytest.raises(InputError, match="no such file"):
        Accuracy.load(tmp_path / "none.npz")


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(InputError, match="7 runs are too few"):
        Accuracy().fit(drawn(7, 0))
    with pytest.raises(InputError, match="no percentages"):
        Accuracy().fit([*drawn(10, 0), replace(drawn(1, 0)[0], cut=float("nan"))])
    with pytest.raises(UsageError, match="learned nothing"):
        Accuracy().predict(drawn(1, 0))
    with pytest.raises(UsageError, match="no share"):
        Accuracy().fit(drawn(20, 0)).predict(drawn(1, 0), coverage=1.0)


def run_of(folder: Path, **changed: object) -> Path:
    """A finished run as ``proprune prune`` leaves it, with what is read of it."""
    figures = {"macs": 1000, "params": 500, "test_accuracy": 90.0, "validation_accuracy": 91.0}
    cut = figures | {"nonzero_macs": 400, "nonzero_params": 250, "test_accuracy": 60.0}
    result = {
        "dense": figures,
        "pruned": cut,
        "finetuned": cut | {"test_accuracy": 88.0},
        "groups": [
            {"name": "a", "channels": 16, "kept": 8, "prunable": True},
            {"name": "b", "channels": 10, "kept": 10, "prunable": False},
        ],
    }
    options = {"model": "m", "data": "d", "method": "l1", "budget": "ops=0.4", "epochs": 8, "finetune_epochs": None}
    data = {"classes": ["a", "b", "c", "d"], "test": 200}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(result | changed))
    (folder / "run.json").write_text(json.dumps({"options": options, "facts": {"data": data}}))
    return folder


def test_runs_are_read(tmp_path: Path) -> None:
    run_of(tmp_path / "points" / "one")
    run_of(tmp_path / "points" / "two")
    alone = run_of(tmp_path / "three")
    assert len(variants_of([tmp_path, alone])) == 3
    assert variants_of([alone]) == [
        Variant("m on d", "l1", "ops=0.4", 90.0, 25.0, 200, 0.4, 0.5, (0.5,), 8, 60.0, 88.0)
    ]


def test_directories_without_runs_and_damaged_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        variants_of([tmp_path])
    damaged = run_of(tmp_path / "damaged", pruned={})
    with pytest.raises(InputError, match="the run is damaged: keyerror"):
        variants_of([damaged])
    (damaged / "results.json").write_text("{")
    with pytest.raises(InputError, match="the run is damaged"):
        variants_of([damaged])
