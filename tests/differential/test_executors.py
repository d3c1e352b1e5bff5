"""ONNX Runtime = interpreter = HLS C++, byte for byte: random ONNX networks and the built-in zoo."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.networks import Network, network
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from tests.executors import MEMORY, differing_bytes
from tests.strategies import random_network

ZOO = (
    *(network(f"{n}-32") for n in ("resnet8", "resnet20", "densenet40", "mobilenetv2", "shufflenetv2", "squeezenet")),
    *(network(f"{n}-32") for n in ("efficientnet-lite0", "unet", "segnet")),
    network("lenet5-28"),
    network("resnet18-224"),
    Network("vgg16", 3, 10, 64),
)
"""One of each kind; ``benchmarks/bench_agreement.py`` goes through all of them."""

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}


@pytest.mark.parametrize("part", range(4))
@settings(max_examples=130, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(random_network(grouped=True), st.sampled_from(array_names()))
def test_random_onnx_networks(part: int, case: tuple[onnx.ModelProto, NDArray[np.float32]], array: str) -> None:
    model, images = case
    graph, _ = quantise(canonicalise(import_onnx(model)), images)
    program, _ = lower(graph, load_array(array), MEMORY)
    assert differing_bytes(graph, program, np.concatenate([images[:1], images[:1] * 3])) == AGREE


@pytest.mark.slow
@pytest.mark.parametrize("net", ZOO, ids=lambda n: n.name)
def test_zoo(net: Network) -> None:
    images = net.images(4)
    graph, _ = quantise(canonicalise(import_onnx(net.onnx_model())), images)
    program, _ = lower(graph, load_array("z7020-256"), MEMORY)
    assert differing_bytes(graph, program, net.images(2, seed=7)) == AGREE
