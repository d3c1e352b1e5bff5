"""The ``onnx`` package's node cases: compiled and byte for byte right on every executor, or refused with a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import version_converter

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import ProPruneError, UnsupportedError
from proprune_cli.ir.graph import Graph
from proprune_cli.ops.importing import rule_of
from proprune_cli.ops.registry import BY_NAME
from tests.executors import MEMORY, differing_bytes
from tests.onnx_node_cases import NodeCase, node_cases

WITHOUT_IMAGES = frozenset(
    {
        "Atan",
        "Cast",
        "Ceil",
        "Concat",
        "Cos",
        "Expand",
        "Floor",
        "Gelu",
        "Gemm",
        "Mish",
        "ReduceMax",
        "ReduceMean",
        "Reshape",
        "Sign",
    }
    | {"Sin", "Slice", "Split", "Sum", "Swish", "Transpose"}
)
"""Operators whose cases have no image as input: the random networks and the unit tests go through them."""

RULES = frozenset(rule_of(constraint) for operator in BY_NAME.values() for constraint in operator.constraints)
"""The conditions on the page of supported operators."""

_AGREE = """
abs add_halves averagepool_2d_ceil averagepool_2d_ceil_last_window_starts_on_pad
maxpool_2d_ceil_output_size_reduce_by_one
averagepool_2d_default averagepool_2d_dilations
averagepool_2d_pads_count_include_pad averagepool_2d_precomputed_pads
averagepool_2d_precomputed_pads_count_include_pad averagepool_2d_precomputed_same_upper
averagepool_2d_precomputed_strides averagepool_2d_same_lower averagepool_2d_same_upper averagepool_2d_strides
basic_conv_with_padding basic_conv_without_padding batchnorm_epsilon batchnorm_example celu clip
clip_default_max clip_default_min constant_pad constant_pad_axes constant_pad_negative_axes
conv_with_autopad_same conv_with_strides_and_asymmetric_padding conv_with_strides_no_padding
conv_with_strides_padding convtranspose convtranspose_dilations convtranspose_group_2
convtranspose_group_2_image_3 convtranspose_autopad_same convtranspose_kernel_shape convtranspose_output_shape
convtranspose_pad convtranspose_pads dropout_default dropout_default_mask
dropout_default_mask_ratio dropout_default_ratio dropout_random_old elu elu_default erf flatten_axis1
flatten_default_axis flatten_negative_axis3 gather_1 globalaveragepool globalaveragepool_precomputed
globalmaxpool globalmaxpool_precomputed hardsigmoid hardsigmoid_default hardswish hardswish_expanded identity
leakyrelu leakyrelu_default maxpool_2d_ceil maxpool_2d_default maxpool_2d_dilations maxpool_2d_pads
maxpool_2d_precomputed_pads maxpool_2d_precomputed_same_upper maxpool_2d_precomputed_strides
maxpool_2d_same_lower maxpool_2d_same_upper maxpool_2d_strides maxpool_with_argmax_2d_precomputed_pads
maxpool_with_argmax_2d_precomputed_strides mul_halves neg relu resize_downsample_scales_nearest
resize_upsample_scales_nearest resize_upsample_scales_nearest_axes_2_3 resize_upsample_scales_nearest_axes_3_2
selu selu_default sigmoid softplus softsign sub_halves tanh thresholdedrelu thresholdedrelu_default
unsqueeze_negative_axes upsample_nearest
"""
_HOSTED = """
depthtospace_crd_mode_example depthtospace_example instancenorm_epsilon instancenorm_example lppool_2d_default
lppool_2d_dilations lppool_2d_pads lppool_2d_same_lower lppool_2d_same_upper lppool_2d_strides lrn lrn_default
resize_downsample_scales_cubic resize_downsample_scales_cubic_align_corners resize_downsample_scales_linear
resize_downsample_scales_linear_align_corners resize_downsample_sizes_cubic resize_downsample_sizes_nearest
resize_tf_crop_and_resize resize_upsample_scales_cubic resize_upsample_scales_linear resize_upsample_sizes_cubic
resize_upsample_sizes_nearest resize_upsample_sizes_nearest_ceil_half_pixel
resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric spacetodepth spacetodepth_example
"""
RUNTIMES_OWN = frozenset(
    {f"test_resize_downsample_scales_{mode}_align_corners" for mode in ("cubic", "linear")}
    | {"test_maxunpool_export_with_output_shape"}
)
"""Cases in which ONNX Runtime, which defines what the host gives, differs from the ONNX reference."""

AGREE = frozenset(_AGREE.split() + _HOSTED.split())
"""Cases that must compile: any other one may be refused with a reason, and none may be wrong."""


def outcome(case: NodeCase) -> str:
    """What became of the case: "agrees", the reason of its refusal, or after "WRONG" what is wrong."""
    try:
        graph = canonicalise(import_onnx(case.model))
        real = _whole(graph, case.images)
        quantised, _ = quantise(graph, case.images)
        program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    except ProPruneError as error:
        return _refusal(case, error)
    shape = quantised.outputs[0].shape if graph.host_tail is None else real.shape[1:]
    if shape != case.expected.shape[1:]:
        return f"WRONG shape: {shape} instead of {case.expected.shape[1:]}"
    if case.name in RUNTIMES_OWN:
        return _like_onnx_runtime(case, real)
    if not np.allclose(real.reshape(case.expected.shape), case.expected, case.rtol, max(case.atol, 1e-5)):
        return "WRONG float result: the imported network is another function"
    differing = differing_bytes(quantised, program, case.images)
    return f"WRONG bytes: {differing}" if any(differing.values()) else "agrees"


def _whole(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's first result for each image, the host's end included."""
    seen = calibrate(graph, images).outputs
    if graph.host_tail is None:
        return seen[0]
    end = open_session(graph.host_tail.model, optimise=False)
    given = {o.name: y.reshape(len(images), *o.shape) for o, y in zip(graph.outputs, seen, strict=True)}
    alone = [{i.name: given[i.name][n : n + 1] for i in end.get_inputs()} for n in range(len(images))]
    return np.concatenate([np.asarray(run_session(end, [graph.results[0]], feeds)[0]) for feeds in alone])


def _like_onnx_runtime(case: NodeCase, real: NDArray[np.float32]) -> str:
    session = open_session(case.model.SerializeToString(), optimise=False)
    own = np.asarray(session.run(None, {session.get_inputs()[0].name: case.images})[0])
    return "agrees" if np.array_equal(real.reshape(own.shape), own) else "WRONG float result"


def _refusal(case: NodeCase, error: ProPruneError) -> str:
    """A refusal says what, where and what to do, and a supported operator's names the condition that is broken."""
    if not (error.what and error.where and error.remedy):
        return f"WRONG refusal, incomplete: {error}"
    told = not isinstance(error, UnsupportedError) or any(rule in error.what for rule in RULES)
    told = told or "nothing is left for the engine" in error.what
    if case.operator in BY_NAME and case.images.dtype == np.float32 and not told:
        return f"WRONG refusal, not by a condition of the page: {error}"
    return error.what


def check(cases: list[NodeCase]) -> None:
    found = {case.name.removeprefix("test_"): outcome(case) for case in cases}
    assert cases
    assert {name: what for name, what in found.items() if what.startswith("WRONG")} == {}
    assert {name: what for name, what in found.items() if name in AGREE and what != "agrees"} == {}


@pytest.mark.parametrize("operator", sorted({*BY_NAME} - {*WITHOUT_IMAGES}))
def test_supported_operators_agree_or_say_what_is_broken(operator: str) -> None:
    check([case for case in node_cases() if case.operator == operator])


def test_other_operators_are_refused_and_what_defines_an_operator_agrees() -> None:
    check([case for case in node_cases() if case.operator not in BY_NAME])


@pytest.mark.parametrize("opset", [9, 11, 12, 18])
def test_cases_agree_in_other_operator_sets(opset: int) -> None:
    """Attributes that became inputs, and the like: wherever ONNX's own converter can write the case that way."""
    converted = [found for case in node_cases() for found in _converted(case, opset)]
    assert len(converted) > 20
    found = {case.name: outcome(case) for case in converted}
    assert {name: what for name, what in found.items() if what != "agrees"} == {}


def _converted(case: NodeCase, opset: int) -> list[NodeCase]:
    if case.name.removeprefix("test_") not in AGREE:
        return []
    try:
        model = version_converter.convert_version(case.model, opset)
        onnx.checker.check_model(model)
    except (RuntimeError, onnx.checker.ValidationError):
        return []
    return [dataclasses.replace(case, model=model)]
