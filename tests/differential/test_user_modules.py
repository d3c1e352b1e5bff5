"""What users of PyTorch write, from both exporters: the same function, and the same bytes on every executor."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import UnsupportedError
from tests.executors import MEMORY, differing_bytes
from tests.user_modules import PARTS, SIZE, Around

UNLIKE = (
    "adaptive average 4x5",
    "channels last",
    "gelu",
    "group norm",
    "layer norm",
    "local response norm",
    "unpooling",
)
"""Parts that the newer exporter writes in another way; it is slow, and the others go through it in the slow tests."""

CASES = [pytest.param(part, "legacy", 13, id=f"{part}, legacy") for part in PARTS]
CASES += [
    pytest.param(part, "dynamo", 18, id=f"{part}, dynamo", marks=() if part in UNLIKE else pytest.mark.slow)
    for part in PARTS
]
"""One opset for each; the networks of ``test_qdq_exporters`` go through the others."""

REFUSED = {
    ("local response norm", "legacy"): "Pad",
    ("unpooling", "dynamo"): "the indices",
    ("adaptive average 4x5", "dynamo"): "batch first",
}
"""Parts that an exporter writes in a way that is refused, and a word of the reason."""


def exported(part: str, exporter: str, opset: int) -> onnx.ModelProto:
    """The part in its network, from one exporter; skips the test where the exporter cannot write it."""
    make, after = PARTS[part]
    torch.manual_seed(0)
    network = Around(make(), after).eval()
    example, file = (torch.randn(1, 3, *SIZE),), io.BytesIO()
    options: dict[str, Any] = {"opset_version": opset, "verbose": False}
    logging.disable(logging.CRITICAL)
    try:
        if exporter == "dynamo":
            program = torch.onnx.export(network, example, dynamo=True, **options)
            assert program is not None
            program.save(file)
        else:
            torch.onnx.export(network, example, file, dynamo=False, **options)
    except Exception as error:  # noqa: BLE001 - the exporters raise many unrelated classes
        pytest.skip(f"the exporter cannot write it: {str(error).splitlines()[0]}")
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("part", "exporter", "opset"), CASES)
def test_parts_of_networks(part: str, exporter: str, opset: int) -> None:
    source = exported(part, exporter, opset)
    reason = REFUSED.get((part, exporter))
    if reason is not None:
        with pytest.raises(UnsupportedError, match=reason):
            canonicalise(import_onnx(source))
        return
    x = np.random.default_rng(0).standard_normal((2, 3, *SIZE)).astype(np.float32) * 2
    graph = canonicalise(import_onnx(source))
    # The file's own function: the older exporter drops some arguments, such as a divisor of average pooling.
    session = open_session(source.SerializeToString(), optimise=False)
    name = session.get_inputs()[0].name
    wanted = np.concatenate([np.asarray(session.run(None, {name: image[None]})[0]) for image in x])
    got = calibrate(graph, x).outputs[0].reshape(2, *graph.outputs[0].shape)
    if graph.host_tail is not None:
        tail = open_session(graph.host_tail.model, optimise=False)
        given = {tail.get_inputs()[0].name: got}
        got = np.asarray(tail.run(None, given)[0])
    np.testing.assert_allclose(got, wanted.reshape(got.shape), rtol=1e-3, atol=1e-4)
    quantised, _ = quantise(graph, x)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert not any(differing_bytes(quantised, program, x).values())
