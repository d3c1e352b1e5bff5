"""Where an int8 network loses the signal of the float network, tensor by tensor."""

from __future__ import annotations

import numpy as np

from proprune_cli.compile.qdq.export import codes_name, to_qdq
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.compile.quantise.calibration_model import to_float_onnx
from proprune_cli.compile.quantise.weights import decibels
from proprune_cli.ir.graph import F32, Graph
from proprune_cli.ir.quantized import QGraph

WEAK_DB = 10.0
"""A signal less than this above its error is as good as lost: a third of the amplitude is error."""

IMAGES = 4
"""Of the calibration images, those that are looked at."""


def where_lost(graph: Graph, quantised: QGraph, images: F32) -> str:
    """Name of the first layer whose tensor is less than ``WEAK_DB`` above its error; empty where there is none.

    Args:
        graph: canonical, and ``quantised`` made of it without preprocessing.
        images: float32 [N, C, H, W], preprocessed.
    """
    few = images[:IMAGES]
    names = [node.y for node in graph.nodes]
    real = open_session(to_float_onnx(graph).SerializeToString(), threads=1)
    coded = open_session(to_qdq(quantised, expose_codes=True).SerializeToString(), threads=1)
    wanted = run_session(real, names, {graph.input: few})
    found = run_session(coded, [codes_name(name) for name in names], {graph.input: few})
    for node, float_values, codes in zip(graph.nodes, wanted, found, strict=True):
        values = float_values.astype(np.float64)
        got = np.ldexp(codes.astype(np.float64), quantised.tensors[node.y].exponent)
        signal, error = float(np.square(values).sum()), float(np.square(values - got).sum())
        if signal and decibels(signal, error) < WEAK_DB:
            return node.name
    return ""
