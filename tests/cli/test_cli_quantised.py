"""A model that is quantised already, through the command: what was taken of it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat

from tests.differential.test_quantised_models import IMAGE, static
from tests.unit.compile.onnx_nets import random


@pytest.mark.filterwarnings("ignore")
def test_the_note_reaches_report_and_output(cli, tmp_path: Path) -> None:
    onnx.save(static(tmp_path, quant_format=QuantFormat.QDQ), tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", random(4, *IMAGE, seed=9))
    given = ("compile", tmp_path / "net.onnx", "--calibration", tmp_path / "images.npy", "-o", tmp_path / "net.ppr")
    done = cli(*given)
    assert done.code == 0 and "note: the model is quantised already" in done.out
    assert cli(*given, "--json").document["report"]["note"].startswith("the model is quantised already")
