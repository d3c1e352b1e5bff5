"""The operators that can be imported: one line each."""

from __future__ import annotations

from proprune_cli.ops.activations import CLIP, FUNCTIONS, P_RELU
from proprune_cli.ops.arithmetic import ADD, DIV, MUL, NEG, SUB, SUM
from proprune_cli.ops.concat import CONCAT
from proprune_cli.ops.conv import CONV
from proprune_cli.ops.conv_transpose import CONV_TRANSPOSE
from proprune_cli.ops.depth_to_space import DEPTH_TO_SPACE
from proprune_cli.ops.elementwise import DROPOUT, IDENTITY, RELU
from proprune_cli.ops.importing import Operator
from proprune_cli.ops.layout import FLATTEN, RESHAPE, SQUEEZE, TRANSPOSE, UNSQUEEZE
from proprune_cli.ops.linear import GEMM, MATMUL
from proprune_cli.ops.normalise import BATCH_NORMALIZATION
from proprune_cli.ops.pad import PAD
from proprune_cli.ops.pool import (
    AVERAGE_POOL,
    GLOBAL_AVERAGE_POOL,
    GLOBAL_MAX_POOL,
    MAX_POOL,
    REDUCE_MAX,
    REDUCE_MEAN,
)
from proprune_cli.ops.resize import EXPAND, RESIZE, UPSAMPLE
from proprune_cli.ops.select import GATHER, SLICE, SPLIT

OPERATORS: tuple[Operator, ...] = (
    CONV,
    CONV_TRANSPOSE,
    BATCH_NORMALIZATION,
    RELU,
    CLIP,
    P_RELU,
    *FUNCTIONS,
    MAX_POOL,
    AVERAGE_POOL,
    GLOBAL_AVERAGE_POOL,
    GLOBAL_MAX_POOL,
    REDUCE_MEAN,
    REDUCE_MAX,
    ADD,
    SUB,
    MUL,
    DIV,
    NEG,
    SUM,
    CONCAT,
    SPLIT,
    SLICE,
    GATHER,
    PAD,
    RESIZE,
    UPSAMPLE,
    EXPAND,
    DEPTH_TO_SPACE,
    GEMM,
    MATMUL,
    FLATTEN,
    RESHAPE,
    SQUEEZE,
    UNSQUEEZE,
    TRANSPOSE,
    IDENTITY,
    DROPOUT,
)

BY_NAME: dict[str, Operator] = {operator.onnx: operator for operator in OPERATORS}
