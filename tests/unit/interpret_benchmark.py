"""Times the interpreter on ResNet-18 at 224×224.

Run ``python tests/unit/interpret_benchmark.py [--keep 0.5] [--profile]``. The program is lowered plainly (one step per
band of rows), so tap counts are those of the real network; ``--keep`` leaves only that share of the taps in every
block, chosen at random, which defeats sharing between blocks.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from dataclasses import replace

import numpy as np
from interpret_build import Conv, Network

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.program import Program


def resnet18(array: Array) -> Network:
    rng = np.random.default_rng(0)
    tensors = {"x": (3, 224, 224)}
    layers: list[Conv] = []

    def conv(x: str, y: str, cout: int, k: int, stride: int, residual: str | None = None) -> str:
        cin, height, width = tensors[x]
        tensors[y] = (cout, height // stride, width // stride)
        chunks = -(-cin // array.ic)
        row_cells = chunks * (width + 2 * (k // 2))
        rows = min(array.bank_depth // row_cells, height + k)
        beats_rows = array.acc_depth * array.px // tensors[y][2]
        layers.append(
            Conv(
                x, y, (k, k), rng.integers(-30, 31, (cout, cin, k, k)).astype(np.int8),
                bias=np.zeros(cout, dtype=np.int64), multiplier=np.full(cout, 100), stride=(stride, stride),
                pads=(k // 2,) * 4, groups_per_chunk=1 if cin <= 8 else array.ic_groups,
                tile=(min((rows - k) // stride + 1, beats_rows), 1 << 15), relu_before=residual is None,
                relu_after=residual is not None, residual=residual,
            )
        )  # fmt: skip
        return y

    stem = conv("x", "stem", 64, 7, 2)
    tensors["pool"] = (64, 56, 56)
    layers.append(Conv(stem, "pool", (3, 3), stride=(2, 2), pads=(1,) * 4, pad_value=-128, tile=(8, 1 << 15)))
    x = "pool"
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            shortcut = conv(x, f"down{stage}", width, 1, 2) if stride == 2 else x
            middle = conv(x, f"a{stage}{block}", width, 3, stride)
            x = conv(middle, f"b{stage}{block}", width, 3, 1, residual=shortcut)
    return Network(array, tensors, layers, "x", x)


def thin_out(program: Program, array: Array, keep: float) -> Program:
    """The program with a random ``1 - keep`` of each MAC block's taps removed from the image."""
    rng = np.random.default_rng(1)
    image = program.image.copy()
    for number in range(program.layer_count):
        layer = program.layers().row(number)
        if layer.mode == isa.Mode.MAX:
            continue
        streams: dict[int, tuple[int, int]] = {}
        for index in range(int(layer.step_count)):
            at = int(layer.step_table) + index * isa.StepDescriptor.WORDS
            step = isa.StepDescriptor.decode(image[at : at + isa.StepDescriptor.WORDS]).row(0)
            start = int(step.weights)
            if start not in streams:
                old, new, taps = image[start : start + int(step.weight_words)].copy(), [], 0
                read = 0
                for _ in range(int(step.blocks)):
                    head = isa.BlockHeader.decode(old[read : read + 1]).row(0)
                    kept = np.sort(rng.permutation(int(head.taps))[: max(1, round(keep * int(head.taps)))])
                    header = old[read : read + array.block_words].copy()
                    header[0] = replace(head, taps=len(kept)).encode()[0, 0]
                    body = old[read + array.block_words :][: int(head.taps) * array.tap_words]
                    new += [header, body.reshape(-1, array.tap_words)[kept].reshape(-1)]
                    read += array.block_words + body.size
                    taps += len(kept)
                words = np.concatenate(new)
                image[start : start + words.size] = words
                streams[start] = taps, words.size
            taps, size = streams[start]
            changed = replace(step, taps=taps, iterations=taps * int(step.beats), weight_words=size)
            image[at : at + isa.StepDescriptor.WORDS] = changed.encode()[0]
    return replace(program, image=image)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--array", default="z7020-256")
    options.add_argument("--keep", type=float, default=1.0)
    options.add_argument("--profile", action="store_true")
    args = options.parse_args()
    network = resnet18(load_array(args.array))
    program = network.build()
    if args.keep < 1:
        program = thin_out(program, network.array, args.keep)
    x = np.random.default_rng(2).integers(-128, 128, (3, 224, 224)).astype(np.int8)
    profile = cProfile.Profile()
    for _ in range(3):
        start = time.perf_counter()
        if args.profile:
            profile.enable()
        result = interpret.run(program, x)
        profile.disable()
        elapsed = time.perf_counter() - start
        c = result.counters
        steps = int(np.sum(program.layers().step_count))
        print(f"{elapsed:.2f} s  {np.sum(c.taps)} taps  {steps} steps  {np.sum(c.iterations) / 1e6:.2f} M iterations")
    if args.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    main()
