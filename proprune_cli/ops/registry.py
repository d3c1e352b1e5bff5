"""The operators that can be imported: one line each."""

from __future__ import annotations

from proprune_cli.ops.conv import CONV
from proprune_cli.ops.elementwise import ADD, DROPOUT, IDENTITY, RELU
from proprune_cli.ops.importing import Operator
from proprune_cli.ops.layout import FLATTEN, RESHAPE, SQUEEZE
from proprune_cli.ops.linear import GEMM, MATMUL
from proprune_cli.ops.normalise import BATCH_NORMALIZATION
from proprune_cli.ops.pad import PAD
from proprune_cli.ops.pool import AVERAGE_POOL, GLOBAL_AVERAGE_POOL, MAX_POOL, REDUCE_MEAN

OPERATORS: tuple[Operator, ...] = (
    CONV,
    BATCH_NORMALIZATION,
    RELU,
    MAX_POOL,
    AVERAGE_POOL,
    GLOBAL_AVERAGE_POOL,
    REDUCE_MEAN,
    ADD,
    PAD,
    GEMM,
    MATMUL,
    FLATTEN,
    RESHAPE,
    SQUEEZE,
    IDENTITY,
    DROPOUT,
)

BY_NAME: dict[str, Operator] = {operator.onnx: operator for operator in OPERATORS}
