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

IN_STEPS: frozenset[str] = (
    HOST
    | FOLLOWING
    | MIDDLE
    | {"Acos", "Acosh", "AffineGrid", "And", "Asin", "Asinh", "Atan", "Atanh", "Attention", "AveragePool"}
    | {"BatchNormalization", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CastLike", "Ceil"}
    | {"Celu", "CenterCropPad", "Col2Im", "Constant", "ConstantOfShape", "Cos", "Cosh", "CumProd", "Det", "DeformConv"}
    | {"DequantizeLinear", "DynamicQuantizeLinear", "Einsum", "MatMulInteger", "QLinearMatMul", "QuantizeLinear"}
    | {"Elu", "Equal", "Erf", "EyeLike", "Floor", "GRU", "GatherElements", "GatherND", "Gelu", "Gemm"}
    | {"GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNormalization"}
    | {"HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual"}
    | {"MatMul", "MaxPool", "MaxRoiPool", "Mish", "Not", "OneHot", "Or", "PRelu", "Pad", "RMSNormalization", "RNN"}
    | {"Range", "ReduceLogSum", "ReduceProd", "ReverseSequence", "RoiAlign", "RotaryEmbedding", "Round"}
    | {"Scatter", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sign", "Sin", "Sinh", "Size", "Softplus"}
    | {"Softsign", "Sum", "Swish", "Tan", "ThresholdedRelu", "Tile", "Trilu", "Where", "Xor"}
)
"""Operators that a step of the host may hold, whatever makes it one: those that give the same numbers of the same sizes
whenever they run. Control flow, random numbers, text, sequences and results without fixed sizes are not among them, nor
is the engine's own work."""

AT_END: frozenset[str] = IN_STEPS | {"Conv", "ConvTranspose"}
"""Operators that the host's end may hold, from the first node on that the engine cannot run: a convolution too, such as
the one that makes distances of a distribution, if the engine keeps most of the work."""

IN_QDQ: frozenset[str] = AT_END | {"SequenceAt", "SequenceConstruct"}
"""Operators of the QDQ model of a whole network; the sequences hide a step from ONNX Runtime's optimiser."""
