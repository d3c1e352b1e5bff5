"""Options, run files, and what users bring to prune."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Files
from tests.cli.error_cases.registry import Arguments, case

# Options and run files


@case(2)
def array_unknown(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", str(tiny.images), "--array", "z9", "-o", "net.ppr"]


@case(2)
def board_to_plan_for_unknown(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", str(tiny.images), "--board", "z9", "-o", "net.ppr"]


@case(3)
def array_too_large_for_the_board(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", str(tiny.images), "--array", "zu-1024", "-o", "net.ppr"]


@case(1)
def run_unfinished(_: Files) -> Arguments:
    Path("run").mkdir()
    return ["compile", "run", "-o", "net.ppr"]


def _run(*names: str) -> None:
    """A run directory that has these files, as far as is looked before they are read."""
    Path("run").mkdir()
    for name in names:
        (Path("run") / name).touch()


@case(1)
def run_without_a_thin_network(_: Files) -> Arguments:
    _run("model.onnx", "dense.onnx")
    return ["compile", "run", "--network", "thin", "-o", "net.ppr"]


@case(2)
def network_of_a_run_unknown(_: Files) -> Arguments:
    _run("model.onnx")
    return ["bench", "run", "--network", "teacher"]


@case(2)
def network_named_of_a_model(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--network", "dense", "-o", "net.ppr"]


@case(2)
def network_named_of_an_artifact(tiny: Files) -> Arguments:
    return ["bench", str(tiny.artifact), "--network", "dense"]


@case(1)
def bench_of_a_run_unfinished(_: Files) -> Arguments:
    Path("run").mkdir()
    return ["bench", "run"]


@case(4)
def bench_of_a_run_on_a_real_board(_: Files) -> Arguments:
    _run("model.onnx")
    return ["bench", "run", "--board", "pynq-z2"]


@case(1)
def run_file_with_faults(_: Files) -> Arguments:
    Path("run.yaml").write_text("version: 1\nprune: {modle: resnet8, epochs: many, seed: 0.5}\nextra: 1\n")
    return ["prune", "--config", "run.yaml", "--out", "run"]


@case(1)
def run_file_out_of_range(_: Files) -> Arguments:
    Path("run.yaml").write_text("version: 1\nprune: {model: resnet8, data: digits, budget: ops=2, train: {batch: 0}}\n")
    return ["prune", "--config", "run.yaml", "--out", "run"]


@case(2)
def budget_malformed(_: Files) -> Arguments:
    return ["prune", "--model", "resnet8", "--data", "digits", "--budget", "half", "--out", "run"]


def _small(*more: str) -> Arguments:
    return ["prune", "--model", "lenet5?widths=8,16,32", "--data", "digits?size=16", "--out", "run", *more]


@case(2)
def budget_for_a_method_that_takes_none(_: Files) -> Arguments:
    return _small("--method", "guided", "--budget", "ms=0.05")


@case(5)
def budget_that_sizes_do_not_allow(_: Files) -> Arguments:
    return _small("--budget", "ratio=95%")


@case(5)
def budget_in_milliseconds_that_cannot_be_met(_: Files) -> Arguments:
    return _small("--budget", "ms=0.001")


@case(2)
def objective_malformed(_: Files) -> Arguments:
    return _small("--objective", "latency=40")


@case(2)
def objective_for_a_method_that_takes_none(_: Files) -> Arguments:
    return _small("--objective", "latency=40%", "--method", "taylor")


@case(2)
def objective_and_a_budget(_: Files) -> Arguments:
    return _small("--objective", "latency=40%", "--budget", "ops=50%")


@case(5)
def objective_out_of_reach(_: Files) -> Arguments:
    return _small("--objective", "latency=0.001ms")


@case(5)
def objective_below_what_always_remains(_: Files) -> Arguments:
    return _small("--objective", "energy=90%,latency=1%")


@case(1)
def objective_that_the_dense_network_keeps(_: Files) -> Arguments:
    return _small("--objective", "energy=1000mJ")


@case(2)
def reference_without_an_objective(_: Files) -> Arguments:
    return _small("--reference")


@case(5)
def knapsack_share_that_cannot_be_met(_: Files) -> Arguments:
    return _small("--method", "knapsack?cycles=0.01&steps=3")


# Users' own code


def _own(model: str, data: str, *more: str) -> Arguments:
    own = "tests.unit.prune.own_code:"
    return ["prune", "--model", own + model, "--data", own + data, "--epochs", "1", "--out", "run", *more]


@case(2)
def targets_without_a_loss(_: Files) -> Arguments:
    return _own("Regressor", "squares")


@case(1)
def loss_that_does_not_take_the_outputs(_: Files) -> Arguments:
    return _own("Detector", "squares", "--loss", "torch.nn:MSELoss", "--metric", "torch.nn:MSELoss")


@case(1)
def data_factory_that_gives_nonsense(_: Files) -> Arguments:
    return _own("Detector", "broken")


@case(3)
def network_that_the_compiler_refuses(_: Files) -> Arguments:
    return ["prune", "--model", "tests.unit.prune.own_code:Rows", "--data", "digits?size=16", "--out", "run"]


@case(1)
def several_results_for_a_classifier(_: Files) -> Arguments:
    return ["prune", "--model", "tests.unit.prune.own_code:Detector", "--data", "digits?size=16", "--out", "run"]


@case(1)
def module_to_exclude_unknown(_: Files) -> Arguments:
    return ["prune", "--model", "resnet8", "--data", "digits?size=16", "--exclude", "layer9", "--out", "run"]


@case(2)
def demo_of_unknown_data(_: Files) -> Arguments:
    return ["demo", "--data", "imagenot"]
