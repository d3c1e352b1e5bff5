"""Predictors: what they learn, how sure they are, what they say of themselves, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from proprune_cli.errors import InputError, UsageError
from proprune_cli.flow.dataset import BASES, exported
from proprune_cli.predict import parts
from proprune_cli.predict.analytic import CYCLES, ISSUED, Analytic, walked
from proprune_cli.predict.base import Figure, Predictor
from proprune_cli.predict.columns import FIGURES, Rows, columns, rows_of
from proprune_cli.predict.evaluate import Split, attempt, errors, pooled, splits
from proprune_cli.predict.per_layer import Corrected, PerLayer
from proprune_cli.predict.predictors import PREDICTORS, load
from proprune_cli.predict.sampling import Target, plan
from proprune_cli.predict.schema import LABELS
from proprune_cli.predict.store import encode
from proprune_cli.predict.trees import Trees
from proprune_cli.predict.whole_network import Linear

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data set of two small networks, for two arrays and three boards."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("networks")
    small = [replace(b, sizes=(b.sizes[0],)) for b in BASES if b.spec in ("lenet5", "resnet8")]
    to = [Target("pynq-z1", "z7020-256"), Target("kv260", "z7020-256"), Target("zcu104", "zu-1024")]
    tables: list[Any] = []
    for base in small:
        rows = [row for row in plan(small, to, 120, 3) if row.base == base]
        tables.append(pq.read_table(pa.BufferReader(parts.make_part(exported(base.spec, folder), rows))))
    return pa.concat_tables(tables)


@pytest.fixture(scope="module")
def rows(table: Any) -> Rows:
    return walked(columns(table))


@pytest.fixture(scope="module")
def fitted(rows: Rows) -> dict[str, Predictor]:
    return {name: make().fit(rows) for name, make in PREDICTORS.items()}


@pytest.fixture(params=list(PREDICTORS))
def predictor(request: pytest.FixtureRequest, fitted: dict[str, Predictor]) -> Iterator[Predictor]:
    yield fitted[request.param]


def _mape(predictor: Predictor, rows: Rows, figure: Figure = "latency_ms") -> float:
    return float(np.abs(predictor.predict(rows, figure).value / rows[figure] - 1).mean())


def test_better_predictors_are_better(fitted: dict[str, Predictor], rows: Rows) -> None:
    found = {name: _mape(p, rows) for name, p in fitted.items()}
    assert found["linear"] < found["operations"]
    assert max(found["network"], found["layers"]) < found["linear"]
    assert max(found["expert"], found["expert+residual"]) < 0.01


def test_the_expert_asks_for_nothing_that_is_known_after_scheduling_only(rows: Rows) -> None:
    bare = {name: column for name, column in rows.passes.items() if not name.startswith("walked")}
    blind = replace(rows, passes={n: np.zeros_like(c) if n in LABELS else c for n, c in bare.items()})
    blind = replace(blind, networks={n: np.ones_like(c) if n in _RESULTS else c for n, c in rows.networks.items()})
    found = walked(blind)
    assert (found.passes[CYCLES] == rows.passes[CYCLES]).all()
    assert (found.passes[ISSUED] == rows.passes[ISSUED]).all()


_RESULTS = ("issued_macs", "useful_macs", "cycles", "ddr_bytes", "latency_ms", "energy_mj", "static_mj", "mac_mj",
            "slot_mj", "ddr_mj")  # fmt: skip


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_no_predictor_reads_a_result(fitted: dict[str, Predictor], rows: Rows, name: str) -> None:
    noise = np.random.default_rng(0)
    networks = {n: noise.permutation(c) if n in _RESULTS else c for n, c in rows.networks.items()}
    passes = {n: noise.permutation(c) if n in LABELS else c for n, c in rows.passes.items()}
    changed = replace(rows, networks=networks, passes=passes)
    for figure in FIGURES:
        before, after = (fitted[name].predict(r, figure).value for r in (rows, changed))
        assert (before == after).all()


def test_a_network_costs_the_same_alone_as_among_others(predictor: Predictor, table: Any) -> None:
    bare = columns(table.slice(40, 30))
    for row in (0, 17, 29):
        alone = predictor.predict(bare.take(np.array([row]))).value[0]
        assert alone == pytest.approx(predictor.predict(bare).value[row], rel=1e-9)


def test_the_expert_never_promises_less_than_the_array_can_do(rows: Rows) -> None:
    walk = rows.sums(rows.passes["iterations"]) / (rows["clock_mhz"] * 1e3 * rows["batch"])
    bandwidth = rows.per_row(lambda _, __, memory: memory.bytes_per_cycle)
    moved = rows.sums(rows.passes["walked_ddr_bytes"]) / bandwidth / (rows["clock_mhz"] * 1e3 * rows["batch"])
    said = Analytic().fit(rows).predict(rows).value
    # Its beats are those of other tiles, where the compiler's are not what it guesses.
    assert (said >= 0.95 * walk).all()
    assert (said >= moved * (1 - 1e-3)).all()


def test_what_the_array_issues(rows: Rows) -> None:
    whole = np.isin(rows["method"].astype(str), ["dense", "thin", "coupled", "odd", "binary"])
    said = rows.sums(rows.passes[ISSUED])
    assert said[whole] == pytest.approx(rows["issued_macs"][whole], rel=1e-6)


def test_intervals_hold_what_they_promise(predictor: Predictor, rows: Rows) -> None:
    for figure in FIGURES:
        covered = []
        for coverage in (0.5, 0.8):
            found = predictor.predict(rows, figure, coverage)
            assert (found.low <= found.value).all()
            assert (found.value <= found.high).all()
            inside = (found.low <= rows[figure]) & (rows[figure] <= found.high)
            # Most of the rows were fitted on, which makes intervals too wide and never too narrow, but for chance.
            assert inside.mean() >= coverage - 0.15
            covered.append(float(inside.mean()))
        assert covered[0] <= covered[1]


def test_an_interval_for_more_than_was_seen_is_without_bounds(predictor: Predictor, rows: Rows) -> None:
    found = predictor.predict(rows, coverage=0.999)
    assert np.isinf(found.high).all()
    assert (found.low == 0).all()


def test_explanations_add_up(predictor: Predictor, rows: Rows) -> None:
    for figure in FIGURES:
        value = predictor.predict(rows, figure).value
        for row in (0, 61, 119):
            assert sum(predictor.explain(rows, row, figure).values()) == pytest.approx(value[row], rel=1e-9)


def test_what_is_saved_predicts_the_same(predictor: Predictor, rows: Rows, tmp_path: Path) -> None:
    predictor.save(tmp_path / "p.npz")
    again = load(tmp_path / "p.npz")
    assert type(again) is type(predictor)
    assert again.sources == ("predicted",)
    for figure in FIGURES:
        before, after = predictor.predict(rows, figure), again.predict(rows, figure)
        assert (before.value == after.value).all()
        assert (before.low == after.low).all()
        assert "predicted" in after.source


def test_a_file_that_was_cut_or_changed_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    predictor.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for length in (0, 10, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="no predictor"):
            load(path)
    for _ in range(20):
        changed = bytearray(content)
        changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            load(path)
        except InputError:
            continue
        # A changed date or the like of the archive: what is in it is whole.


def test_files_that_say_other_things_are_refused(fitted: dict[str, Predictor], tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    fitted["network"].save(path)
    arrays = dict(np.load(path))
    faults: dict[str, tuple[str, Any]] = {
        "a child before its parent": ("model.latency_ms.left", np.zeros_like(arrays["model.latency_ms.left"])),
        "a root that is not there": ("model.latency_ms.roots", arrays["model.latency_ms.roots"] + 10**6),
        "a feature too many": ("model.latency_ms.feature", arrays["model.latency_ms.feature"] + 1000),
        "no number": ("model.latency_ms.value", arrays["model.latency_ms.value"] * np.nan),
        "errors of none": ("errors.energy_mj", np.zeros(0)),
        "another kind": ("about", np.frombuffer(b'{"kind": "predictor", "version": 1, "name": "x"}', dtype=np.uint8)),
        "another version": ("about", np.frombuffer(b'{"kind": "predictor", "version": 2}', dtype=np.uint8)),
    }
    for what, (name, value) in faults.items():
        np.savez(path, **{**arrays, name: value})
        with pytest.raises(InputError):
            load(path)
            pytest.fail(what)
    del arrays["model.centre"]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="no predictor"):
        load(path)
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "nothing.npz")


def test_predicted_and_measured_rows_are_not_mixed_unsaid(rows: Rows) -> None:
    source = rows["source"].copy()
    source[::2] = "measured"
    mixed = replace(rows, networks={**rows.networks, "source": source})
    with pytest.raises(UsageError, match="several sources"):
        Linear().fit(mixed)
    both = Linear().fit(mixed, sources="both")
    assert both.predict(rows).source == "predicted, from measured and predicted rows"
    assert Linear().fit(mixed.take(source == "measured")).sources == ("measured",)


def test_networks_without_cycles_of_passes_teach_whole_networks_alone(rows: Rows) -> None:
    bare = replace(rows, passes={**rows.passes, "cycles": np.zeros_like(rows.passes["cycles"])})
    for make in (PerLayer, Corrected):
        with pytest.raises(InputError, match="without cycles of their passes"):
            make().fit(bare)
    Linear().fit(bare)


def test_too_few_rows_and_figures_that_are_none_are_refused(rows: Rows) -> None:
    with pytest.raises(InputError, match="too few"):
        Linear().fit(rows.take(np.arange(19)))
    for figure in FIGURES:
        for bad in (np.nan, np.inf, 0.0, -1.0):
            values = rows[figure].copy()
            values[7] = bad
            with pytest.raises(InputError, match="row 7"):
                Linear().fit(replace(rows, networks={**rows.networks, figure: values}))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"clock_mhz": float("nan")}, "clock_mhz"),
        ({"layers": []}, "no passes"),
        ({"batch": 0}, "batch"),
        ({"params": -1}, "params"),
    ],
)
def test_rows_that_are_no_networks_are_refused(table: Any, change: dict[str, Any], what: str) -> None:
    documents = table.slice(0, 3).to_pylist()
    documents[1] |= change
    with pytest.raises(InputError, match=what):
        rows_of(documents)


@pytest.mark.parametrize(("name", "value"), [("taps", -1), ("in_h", 0), ("kind", "sparse"), ("stride_w", 0)])
def test_passes_that_are_none_are_refused(table: Any, name: str, value: Any) -> None:
    documents = table.slice(0, 3).to_pylist()
    documents[2]["layers"][1][name] = value
    with pytest.raises(InputError, match="layers"):
        rows_of(documents)


def test_missing_values_are_refused(table: Any) -> None:
    import pyarrow as pa

    place = table.schema.get_field_index("cycles")
    holes = pa.array([None, *table.column("cycles").to_pylist()[1:]], pa.int64())
    with pytest.raises(InputError, match="missing"):
        columns(table.set_column(place, table.schema.field(place), holes))


def test_rows_of_another_array_are_refused(rows: Rows) -> None:
    contract = rows["contract"].copy()
    contract[3] = "0" * 64
    other = replace(rows, networks={**rows.networks, "contract": contract}, passes=dict(rows.passes))
    with pytest.raises(InputError, match="another array"):
        Linear().fit(other)


def test_documents_and_tables_say_the_same(table: Any, rows: Rows) -> None:
    again = rows_of(table.to_pylist())
    assert (again.starts == rows.starts).all()
    for name, column in again.passes.items():
        assert (column == rows.passes[name]).all()
    assert encode(table.slice(0, 5).to_pylist())


def test_a_predictor_that_learned_nothing_says_so(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="learned nothing"):
        Linear().predict(rows)
    with pytest.raises(UsageError, match="learned nothing"):
        Linear().save(tmp_path / "p.npz")
    with pytest.raises(UsageError, match="no share"):
        Linear().fit(rows).predict(rows, coverage=1.0)


def test_trees_say_what_scikit_learn_says() -> None:
    from sklearn import ensemble

    rng = np.random.default_rng(0)
    features, weight = rng.normal(size=(400, 5)), rng.random(400)
    target = np.sin(features[:, 0]) + features[:, 1] * features[:, 2]
    theirs = cast("Any", ensemble).HistGradientBoostingRegressor(
        max_iter=30, max_leaf_nodes=31, learning_rate=0.08, min_samples_leaf=10, early_stopping=False, max_bins=127,
        max_depth=8, random_state=0,
    ).fit(features, target, sample_weight=weight)  # fmt: skip
    unseen = rng.normal(size=(200, 5))
    mine = Trees.fit(features, target, weight, trees=30)
    assert mine.predict(unseen) == pytest.approx(theirs.predict(unseen), rel=1e-9, abs=1e-12)


def test_splits_keep_what_is_alike_together(rows: Rows) -> None:
    found = list(splits(rows))
    assert {s.kind for s in found} >= {"family", "array", "way", "rows"}
    for split in found:
        assert not (split.fit & split.ask).any()
        assert (split.fit | split.ask).all()
        for kind in ("family", "array"):
            if split.kind == kind:
                names = rows[kind].astype(str)
                assert not set(names[split.fit].tolist()) & set(names[split.ask].tolist())


def test_errors_are_what_they_are_called(rows: Rows) -> None:
    truth = rows["latency_ms"]
    wrong = truth * np.where(np.arange(len(rows)) % 2, 1.08, 0.97)
    found = errors(rows, "latency_ms", wrong, wrong * 0.95, wrong * 1.05)
    assert found.mape == pytest.approx(0.055)
    assert found.bias == pytest.approx(0.025)
    assert found.within5 == pytest.approx(0.5)
    assert found.within10 == pytest.approx(1)
    assert found.covered == pytest.approx(0.5)
    assert 0.9 < found.least_spearman <= found.spearman < 1
    perfect = errors(rows, "latency_ms", truth * 2, truth, truth * 2)
    assert perfect.spearman == pytest.approx(1)
    assert perfect.kendall == pytest.approx(1)


def test_an_unseen_array_is_asked_about_in_numbers(rows: Rows) -> None:
    (split,) = (s for s in splits(rows, ("array",)) if s.name == "zu-1024")
    outcome = attempt(PREDICTORS["expert+residual"], split, rows)
    assert pooled([outcome], rows, "latency_ms").mape < 0.03
    some = attempt(PREDICTORS["linear"], Split("rows", "", split.fit, split.ask), rows, most=25, ask=10)
    assert len(some.asked) == 10
