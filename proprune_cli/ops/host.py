"""Operators that run on the host, by ONNX Runtime: at the end of the network, and between the engine's layers."""

from __future__ import annotations

HOST: frozenset[str] = frozenset(
    {"ArgMax", "ArgMin", "Exp", "Hardmax", "LRN", "Log", "LogSoftmax", "LpNormalization", "ReduceL2", "ReduceSum"}
    | {"Softmax", "TopK", "Transpose"}
)
"""Operators that begin the host's end when nothing but these and ``FOLLOWING`` comes after them."""

FOLLOWING: frozenset[str] = frozenset(
    {"Abs", "Add", "Cast", "Clip", "Concat", "Div", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Max", "Min"}
    | {"Mul", "Neg", "Pow", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice", "Split", "Sqrt"}
    | {"Squeeze", "Sub", "Tanh", "Unsqueeze"}
)
"""Operators that the host may run too, after one of ``HOST``."""

MIDDLE: frozenset[str] = frozenset(
    {"CumSum", "DepthToSpace", "Exp", "GlobalLpPool", "Hardmax", "InstanceNormalization", "LRN", "Log", "LogSoftmax"}
    | {"LpNormalization", "LpPool", "Max", "MaxUnpool", "Mean", "MeanVarianceNormalization", "Min", "Mod", "Pow"}
    | {"Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Resize"}
    | {"Softmax", "SpaceToDepth", "Sqrt", "Upsample"}
)
"""Operators that the host runs between the engine's layers, each from int8 codes to int8 codes, where the engine has no
rule for them or where its rule's conditions (Resize, Upsample) do not hold. They read and make float activations of
channels x height x width, and treat every image of a batch alone."""

NOT_IN_STEPS: frozenset[str] = frozenset(
    {"Bernoulli", "Compress", "Conv", "ConvTranspose", "If", "Loop", "Multinomial", "NonMaxSuppression", "NonZero"}
    | {"Optional", "OptionalGetElement", "OptionalHasElement", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike", "Scan", "SequenceAt", "SequenceConstruct", "SplitToSequence", "Unique"}
)
"""Operators that no step of the host may hold: the engine's own work, random numbers, and results without fixed sizes.
All others may be part of a step together with those around them, so that the step as a whole reads and makes images."""

NOT_AT_END: frozenset[str] = NOT_IN_STEPS - {"Conv", "ConvTranspose"}
"""Operators that the host's end may not hold either. All others may, from the first node on that the engine cannot run:
a convolution too, such as the one that makes distances of a distribution, if the engine keeps most of the work."""
