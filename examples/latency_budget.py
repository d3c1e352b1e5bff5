"""A budget in milliseconds: what may remain is counted for a board, and holds for the network that is compiled.

The figures are predicted; no board has confirmed them yet.
"""

import json
from pathlib import Path

import proprune_cli
from proprune_cli.errors import BudgetError

run = Path("runs/latency_budget")
try:
    result = proprune_cli.run_prune(
        run,
        model="lenet5?widths=32,64,128",
        data="digits?size=16",
        budget="ms=60%",  # of the dense network's; ms=0.2 would be milliseconds themselves
        board="pynq-z2",
        multiple=4,
        epochs=3,
        finetune_epochs=2,
        thin=False,
        train={"batch": 64, "threads": 1},
    )
except BudgetError as error:  # met by no choice of channels, or missed by the one that was made
    raise SystemExit(str(error)) from None
checked = json.loads((run / "predicted.json").read_text())
print(f"{result.dense.test_accuracy:.1f} % dense, {result.finetuned.test_accuracy:.1f} % pruned")
print(f"{checked['dense']:.4f} ms dense, {checked['compiled']:.4f} ms pruned, {checked['limit']:.4f} ms allowed")

# The same network elsewhere: each board has arrays and a clock of its own.
for board in ("pynq-z2", "zcu104"):
    artifact = run / f"{board}.ppr"
    proprune_cli.run_compile(run, artifact, board=board)
    record = proprune_cli.run_bench(artifact, f"emulated:{board}")
    print(f"{board}: {record.latency_ms:.4f} ms, {record.source} by {record.model}")
