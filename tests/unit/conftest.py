"""What several rooms' tests share: one thread for torch, a small network compiled once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.artifact import Artifact, Golden, Source
from proprune_cli.compile.pipeline import compile_model
from tests.cli.conftest import tiny_model

# Parallel test workers on few cores otherwise wait for one another.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """`tiny_model` for the PYNQ-Z2 with array z7020-256; frozen, so every test may read it."""
    images = np.random.default_rng(1).normal(size=(4, 1, 8, 8)).astype(np.float32)
    array, board = load_array("z7020-256"), load_board("pynq-z2")
    c = compile_model(tiny_model(), images, array, board)
    golden = Golden(c.golden_input, c.golden_codes_in, c.golden_codes_out)
    return Artifact("tiny", board.name, Source("tiny", ""), c.program, c.qdq, golden, c.results, c.plan, {})
