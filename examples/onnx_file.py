"""An ONNX file from elsewhere: compile it, look at the plan, run it, and compare with ONNX Runtime.

The file is made here by hand so that the example needs none; yours may come from any framework.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import proprune_cli

rng = np.random.default_rng(0)
weights = {
    "stem": rng.normal(0, 0.3, (16, 3, 3, 3)),
    "depthwise": rng.normal(0, 0.3, (16, 1, 3, 3)),
    "point": rng.normal(0, 0.3, (24, 16, 1, 1)),
    "head": rng.normal(0, 0.3, (24, 5)),
}
nodes = [
    helper.make_node("Conv", ["images", "stem"], ["a"], "stem", pads=[1, 1, 1, 1], strides=[2, 2]),
    helper.make_node("Relu", ["a"], ["b"]),
    helper.make_node("Conv", ["b", "depthwise"], ["c"], "depthwise", pads=[1, 1, 1, 1], group=16),
    helper.make_node("Conv", ["c", "point"], ["d"], "point"),
    helper.make_node("HardSwish", ["d"], ["e"]),
    helper.make_node("GlobalAveragePool", ["e"], ["f"]),
    helper.make_node("Flatten", ["f"], ["g"]),
    helper.make_node("MatMul", ["g", "head"], ["h"], "head"),
    helper.make_node("Softmax", ["h"], ["scores"], axis=1),
]
shape = ["batch", 3, 24, 24]
graph = helper.make_graph(
    nodes,
    "net",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 5])],
    [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "net.onnx")

# Quantisation needs to see some images, prepared as for training. Softmax runs on the host, after the engine's layers.
images = rng.normal(size=(64, 3, 24, 24)).astype(np.float32)
proprune_cli.run_compile("net.onnx", "net.ppr", board="pynq-z2", calibration=images[:32])

artifact = proprune_cli.run_inspect("net.ppr")
for layer in artifact.plan.layers:
    print(f"{layer.work.name:12} {layer.work.macs:>9,} MACs, {layer.cycles:>8,.0f} cycles predicted")
found = proprune_cli.run_artifact("net.ppr", images, "emulated:pynq-z2")["scores"]
(exact,) = ort.InferenceSession("net.onnx").run(None, {"images": images})
print(f"largest difference of a score: {np.abs(found - exact).max():.4f}")
print(f"same class: {np.mean(found.argmax(1) == exact.argmax(1)):.1%}")

report = proprune_cli.run_deploy("net.ppr", "emulated:pynq-z2")
print(f"golden output: {report.bytes_different} of {report.bytes_compared} bytes differ")
