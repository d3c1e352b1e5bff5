"""What each ATen operator does to channels. A new operator: one function and one line in `RULES`.

An operator without a rule pins the channels it reads, and the report names it.
"""

from __future__ import annotations

from collections.abc import Callable

from proprune_cli.channels.labels import Labels, Walker
from proprune_cli.channels.recorder import Node
from proprune_cli.channels.rules import layers, parts, pointwise, shape

Rule = Callable[[Walker, Node], "Labels | list[Labels | None] | None"]


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


def nothing(walker: Walker, node: Node) -> None:
    """A new tensor, of which only the type is another's: no channel of that one stays for it."""


RULES: dict[str, Rule] = {
    **_table(layers.convolution, "convolution"),
    **_table(layers.addmm, "addmm"),
    **_table(layers.mm, "mm matmul"),
    **_table(layers.linear, "linear"),
    **_table(
        layers.batch_norm,
        "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit cudnn_batch_norm "
        "_batch_norm_no_update batch_norm",
    ),
    **_table(layers.group_norm, "native_group_norm"),
    **_table(layers.prelu, "prelu _prelu_kernel"),
    **_table(
        pointwise.keeps_zero,
        "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh native_dropout dropout feature_dropout "
        "alpha_dropout neg abs sqrt square erf sin tan asin atan sinh asinh sign floor ceil round trunc expm1 log1p "
        "softshrink hardshrink clone contiguous detach alias lift_fresh _to_copy to zeros_like",
    ),
    **_table(
        pointwise.spatial,
        "avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d max_pool2d upsample_nearest1d upsample_nearest2d "
        "upsample_bilinear2d upsample_bicubic2d _upsample_nearest_exact2d _upsample_bilinear2d_aa reflection_pad2d "
        "replication_pad2d reflection_pad1d replication_pad1d avg_pool1d adaptive_avg_pool1d",
    ),
    **_table(pointwise.spatial_pair, "max_pool2d_with_indices adaptive_max_pool2d fractional_max_pool2d"),
    **_table(pointwise.unpool, "max_unpool2d"),
    **_table(
        pointwise.lifts,
        "ones_like full_like isnan isfinite isinf logical_not sigmoid hardsigmoid exp softplus log_sigmoid_forward cos "
        "log rsqrt reciprocal exp2 logit",
    ),
    **_table(pointwise.clamp, "clamp clamp_min clamp_max hardtanh threshold"),
    **_table(pointwise.power, "pow"),
    **_table(pointwise.add, "add sub rsub"),
    **_table(pointwise.multiply, "mul"),
    **_table(pointwise.extreme, "maximum minimum fmax fmin"),
    **_table(pointwise.compare, "gt ge lt le eq ne logical_and logical_or logical_xor"),
    **_table(pointwise.where, "where"),
    **_table(pointwise.masked_fill, "masked_fill"),
    **_table(pointwise.divide, "div"),
    **_table(pointwise.softmax, "_softmax softmax _log_softmax log_softmax"),
    **_table(pointwise.along, "cumsum cumprod logcumsumexp cummax cummin sort topk"),
    **_table(shape.view, "view reshape _unsafe_view flatten _reshape_alias unflatten"),
    **_table(shape.reduce, "mean sum amax amin std var prod linalg_vector_norm norm"),
    **_table(shape.reduce_lifting, "logsumexp argmax argmin any all count_nonzero"),
    **_table(shape.reduce_pair, "max min median nanmedian mode kthvalue var_mean std_mean"),
    **_table(shape.permute, "permute"),
    **_table(shape.transpose, "transpose t"),
    **_table(shape.unsqueeze, "unsqueeze"),
    **_table(shape.squeeze, "squeeze"),
    **_table(parts.cat, "cat concat"),
    **_table(parts.stack, "stack"),
    **_table(parts.split, "split split_with_sizes chunk"),
    **_table(parts.unbind, "unbind"),
    **_table(parts.slice_, "slice narrow"),
    **_table(parts.select, "select"),
    **_table(parts.getitem, "getitem"),
    **_table(shape.pad, "pad constant_pad_nd"),
    **_table(shape.expand, "expand expand_as"),
    **_table(shape.repeat, "repeat"),
    **_table(shape.flip, "flip"),
    **_table(shape.roll, "roll"),
    **_table(parts.index_select, "index_select"),
    **_table(parts.glu, "glu"),
    **_table(parts.channel_shuffle, "channel_shuffle native_channel_shuffle"),
    **_table(nothing, "new_zeros new_ones new_full new_empty empty_like"),
    **_table(parts.pixel_shuffle, "pixel_shuffle"),
    **_table(parts.pixel_unshuffle, "pixel_unshuffle"),
}
