"""Random ends of networks in tensors of rank 2 to 5, as exporters write heads: after a small trunk of convolutions."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Shape = tuple[int, ...]

OPERATORS = (
    *("Reshape",) * 4,
    *("Transpose", "Slice", "Split", "Concat") * 2,
    *("Softmax", "Mul", "Add", "AddConstant", "Sigmoid", "Exp", "Unsqueeze", "Squeeze", "Gather", "MatMul"),
    *("ReduceMean", "Conv", "ReadShape"),
    *("ArgMax", "ConcatConstant", "CumSum", "Einsum", "Flip", "GatherOne", "Pad", "Pow", "ReduceMax", "Tile", "TopK"),
    *("MaxPool", "Relu", "Where"),
)


class _Builder:
    """Nodes so far and the tensors that may be read, with their shapes for a batch of 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.live: list[tuple[str, Shape]] = []
        self.batch = (1, "N", 3)[int(rng.integers(3))]

    def constant(self, value: NDArray[Any] | list[int]) -> str:
        name = f"k{len(self.weights)}"
        self.weights[name] = np.asarray(value, np.int64) if isinstance(value, list) else value
        return name

    def weight(self, *shape: int) -> str:
        fan = max(prod(shape[1:]) if len(shape) > 2 else prod(shape[:1]), 1)
        return self.constant((self.rng.standard_normal(shape) / fan**0.5).astype(np.float32))

    def add(self, op: str, inputs: list[str], shape: Shape, **attributes: Any) -> str:
        y = f"t{len(self.live)}"
        self.nodes.append(helper.make_node(op, inputs, [y], name=f"n{len(self.nodes)}", **attributes))
        self.live.append((y, shape))
        return y

    def pick(self, values: list[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def step(self) -> None:
        """One more operator, where the drawn one fits the drawn tensor."""
        x, s = self.pick(self.live[-3:])
        rank, op = len(s), self.pick(list(OPERATORS))
        axis = int(self.rng.integers(1, rank))
        signed = axis - rank if self.rng.random() < 0.3 else axis
        without = (*s[:axis], *s[axis + 1 :])
        if op == "Reshape":
            target = self.target(s)
            first = 0 if self.rng.random() < 0.5 or self.batch == "N" else self.batch
            self.add(op, [x, self.constant([int(first), *target[1:]])], target)
        elif op == "ReadShape":  # as exporters flatten: the batch is read from the tensor
            n = f"{x}.{len(self.nodes)}"
            self.nodes.append(helper.make_node("Shape", [x], [f"{n}.s"]))
            self.nodes.append(helper.make_node("Slice", [f"{n}.s", *map(self.constant, ([0], [1]))], [f"{n}.n"]))
            self.nodes.append(helper.make_node("Concat", [f"{n}.n", self.constant([-1])], [f"{n}.t"], axis=0))
            self.add("Reshape", [x, f"{n}.t"], (1, prod(s)))
        elif op == "Transpose":
            perm = [0, *(1 + self.rng.permutation(rank - 1)).tolist()]
            self.add(op, [x], tuple(s[i] for i in perm), perm=perm)
        elif op == "Slice":
            start = int(self.rng.integers(0, s[axis]))
            stop, step = int(self.rng.integers(start + 1, s[axis] + 1)), int(self.pick([1, 1, 2]))
            bounds = [self.constant([v]) for v in (start, stop, signed, step)]
            self.add(op, [x, *bounds], (*s[:axis], len(range(start, stop, step)), *s[axis + 1 :]))
        elif op == "Split" and s[axis] > 1:
            first = int(self.rng.integers(1, s[axis]))
            names = [f"t{len(self.live)}", f"t{len(self.live) + 1}"]
            sizes = [first, s[axis] - first]
            self.nodes.append(helper.make_node(op, [x, self.constant(sizes)], names, axis=signed))
            self.live += [(n, (*s[:axis], size, *s[axis + 1 :])) for n, size in zip(names, sizes, strict=True)]
        elif op == "Concat":
            fitting = [(n, t) for n, t in self.live if len(t) == rank and (*t[:axis], *t[axis + 1 :]) == without]
            other, t = self.pick(fitting)
            self.add(op, [x, other], (*s[:axis], s[axis] + t[axis], *s[axis + 1 :]), axis=signed)
        elif op == "Softmax":
            self.add(op, [x], s, axis=signed)
        elif op in ("Mul", "Add"):
            self.add(op, [x, self.pick([n for n, t in self.live if t == s])], s)
        elif op == "AddConstant":
            shape = [n if self.rng.random() < 0.5 else 1 for n in s[1:]][int(self.rng.integers(rank - 1)) :]
            self.add("Add", [x, self.weight(*shape)], s)
        elif op == "Sigmoid":
            self.add(op, [x], s)
        elif op == "Exp":
            self.add(op, [self.add("Sigmoid", [x], s)], s)
        elif op == "Unsqueeze" and rank < 5:
            self.add(op, [x, self.constant([axis])], (*s[:axis], 1, *s[axis:]))
        elif op == "Squeeze" and rank > 2 and s[axis] == 1:
            self.add(op, [x, self.constant([signed])], without)
        elif op == "Gather":
            chosen = self.rng.integers(0, s[axis], size=int(self.rng.integers(1, 4)))
            self.add(op, [x, self.constant(chosen.tolist())], (*s[:axis], len(chosen), *s[axis + 1 :]), axis=signed)
        elif op == "MatMul" and s[-1] <= 16:
            columns = int(self.rng.integers(1, 6))
            self.add(op, [x, self.weight(s[-1], columns)], (*s[:-1], columns))
        elif op == "ReduceMean" and rank > 2:
            keep = int(self.rng.integers(0, 2))
            self.add(op, [x], (*s[:axis], 1, *s[axis + 1 :]) if keep else without, axes=[signed], keepdims=keep)
        elif op == "Conv" and rank == 4:
            filters = int(self.rng.integers(1, 6))
            self.add(op, [x, self.weight(filters, s[1], 1, 1)], (1, filters, *s[2:]))

        else:
            self.rarer(op, x, s, axis, signed)

    def rarer(self, op: str, x: str, s: Shape, axis: int, signed: int) -> None:
        rank, without = len(s), (*s[:axis], *s[axis + 1 :])
        if op == "ArgMax":
            y = f"{x}.{len(self.nodes)}"
            self.nodes.append(helper.make_node(op, [x], [y], axis=signed, keepdims=1))
            self.add("Cast", [y], (*s[:axis], 1, *s[axis + 1 :]), to=onnx.TensorProto.FLOAT)
        elif op == "ConcatConstant" and self.batch == 1:
            size = int(self.rng.integers(1, 3))
            self.add(
                "Concat",
                [x, self.weight(*s[:axis], size, *s[axis + 1 :])],
                (*s[:axis], s[axis] + size, *s[axis + 1 :]),
                axis=signed,
            )
        elif op == "CumSum":
            self.add(op, [x, self.constant([axis])], s)
        elif op == "Einsum" and rank == 3:
            self.add(op, [x, self.weight(s[1], 3)], (1, 3, s[2]), equation="bcl,cd->bdl")
        elif op == "Flip":
            bounds = [self.constant([v]) for v in (-1, -(2**31), signed, -1)]
            self.add("Slice", [x, *bounds], s)
        elif op == "GatherOne" and rank > 2:
            index = self.constant(np.asarray(int(self.rng.integers(-s[axis], s[axis])), np.int64))
            self.add("Gather", [x, index], without, axis=signed)
        elif op == "Pad":
            before = [0] * rank
            before[axis] = 1
            self.add(op, [x, self.constant([*before, *[0] * rank])], (*s[:axis], s[axis] + 1, *s[axis + 1 :]))
        elif op == "Pow":
            self.add(op, [x, self.constant(np.asarray(2.0, np.float32))], s)
        elif op == "ReduceMax" and rank > 2:
            self.add(op, [x], without, axes=[signed], keepdims=0)
        elif op == "Tile" and prod(s) < 2000:
            times = [1] * rank
            times[axis] = 2
            self.add(op, [x, self.constant(times)], (*s[:axis], 2 * s[axis], *s[axis + 1 :]))
        elif op == "TopK" and s[axis] > 1:
            names = [f"t{len(self.live)}", f"t{len(self.live)}.i"]
            self.nodes.append(helper.make_node(op, [x, self.constant([2])], names, axis=signed))
            self.live.append((names[0], (*s[:axis], 2, *s[axis + 1 :])))
        elif op == "MaxPool" and rank == 4:
            self.add(op, [x], s, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        elif op == "Relu":
            self.add(op, [x], s)
        elif op == "Where":
            mask = f"{x}.{len(self.nodes)}"
            zero = self.constant(np.zeros((), np.float32))
            self.nodes.append(helper.make_node("Greater", [x, zero], [mask]))
            self.add(op, [mask, x, zero], s)

    def target(self, s: Shape) -> Shape:
        left, dims = prod(s), list[int]()
        for _ in range(int(self.rng.integers(0, 4))):
            dims.append(int(self.pick([d for d in range(1, min(left, 16) + 1) if left % d == 0])))
            left //= dims[-1]
        dims.append(left)
        return (1, *(dims[i] for i in self.rng.permutation(len(dims))))


def tailed(seed: int) -> onnx.ModelProto:
    """A network with a random end; what nothing reads is an output. Its batch is 1, symbolic or 3."""
    rng = np.random.default_rng(seed)
    build = _Builder(rng)
    channels = int(rng.choice([4, 6, 8, 12]))
    h, w = int(rng.choice([4, 6])), int(rng.choice([4, 8]))
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [build.batch, 3, h, w])
    trunk = build.add("Conv", ["x", build.weight(channels, 3, 3, 3)], (1, channels, h, w), pads=[1, 1, 1, 1])
    if rng.random() < 0.6:
        kernel, small = build.weight(channels, channels, 3, 3), (1, channels, (h + 1) // 2, (w + 1) // 2)
        build.add("Conv", [trunk, kernel], small, pads=[1, 1, 1, 1], strides=[2, 2])
    for _ in range(int(rng.integers(3, 10))):
        build.step()
    read = {name for node in build.nodes for name in node.input}
    free = [name for name, _ in build.live[1:] if name not in read] or [build.live[-1][0]]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in free]
    tensors = [numpy_helper.from_array(value, name) for name, value in build.weights.items()]
    graph = helper.make_graph(build.nodes, f"tail{seed}", [x], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
