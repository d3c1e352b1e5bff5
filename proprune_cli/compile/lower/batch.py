"""Batches as pixels: a program that takes several images per start.

What makes few pixels of an image (fully connected layers above all) runs once for all images, which are more pixels to
it: its weights are read once per start, and the pixels that the array would compute in vain are another image's. Every
other layer runs image by image, all with the one weight stream; ``joint_passes.py`` says which layers join.

The engine knows nothing of it. A tensor that holds all images has image i in rows i·h to (i+1)·h−1 of its planes; a
layer of one image reads a window of them and fills a part, as layers do after a crop and before an upsampling.

A step of the host reads and writes tensors of all images: the engine stops once for them, and the host takes image
after image out of them.
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.engine_layer import EngineGraph, EngineLayer, HostPass, Phase, Residual, View
from proprune_cli.compile.lower.joint_passes import joined
from proprune_cli.errors import UsageError
from proprune_cli.ir.quantized import QTensor


def batched(graph: EngineGraph, images: int, array: Array) -> EngineGraph:
    """``graph`` for ``images`` images at a time, each of its inputs and outputs with the images below one another.

    Raises:
        UsageError: fewer than one image.
    """
    if images < 1:
        raise UsageError(f"a batch of {images} images holds none", where="--batch", remedy="give 1 or more")
    if images == 1:
        return graph
    # As many pixels as the array takes up in the fewest cycles that a tap can last.
    return _Batch(graph, images, array.px * array.min_beats).run()


class _Batch:
    def __init__(self, graph: EngineGraph, images: int, few: int) -> None:
        self._graph, self._images = graph, images
        passes = (joined(layer, graph.tensors, images, few) for layer in graph.layers)
        self._joined = {number: found for number, found in enumerate(passes) if found}
        touched = (name for n in self._joined for name in (graph.layers[n].y, *graph.layers[n].reads))
        # Tensors of all images; each of the others is there once for every image, and lives as shortly as it can.
        self._shared = {graph.input, *(output.tensor for output in graph.outputs), *touched}
        self._shared.update(name for step in graph.host for name in (*step.xs, step.layer.y))
        self._mark = "@"
        while any(self._mark in name for name in graph.tensors):
            self._mark += "@"

    def run(self) -> EngineGraph:
        layers: list[EngineLayer] = []
        alone: list[EngineLayer] = []
        host: list[HostPass] = []
        for number, layer in enumerate(self._graph.layers):
            if any(step.after == number for step in self._graph.host):
                self._image_by_image(alone, layers)
                alone = []
                host += self._steps(number, len(layers))
            if number in self._joined:
                self._image_by_image(alone, layers)
                alone = []
                layers.extend(self._joined[number])
            else:
                alone.append(layer)
        self._image_by_image(alone, layers)
        host += self._steps(len(self._graph.layers), len(layers))
        tensors: dict[str, QTensor] = {}
        for name, t in self._graph.tensors.items():
            if name in self._shared:
                tensors[name] = replace(t, height=t.height * self._images)
            else:
                copies = (replace(t, name=self._named(name, image)) for image in range(self._images))
                tensors |= {copy.name: copy for copy in copies}
        return replace(self._graph, tensors=tensors, layers=tuple(layers), host=tuple(host), batch=self._images)

    def _steps(self, number: int, after: int) -> list[HostPass]:
        """The host's steps after ``number`` of the graph's passes, which are ``after`` of the batch's."""
        return [replace(step, after=after) for step in self._graph.host if step.after == number]

    def _image_by_image(self, run: list[EngineLayer], layers: list[EngineLayer]) -> None:
        """Append the layers of ``run`` for the first image, then for the second, and so on."""
        start = len(layers)
        for image in range(self._images):
            for number, layer in enumerate(run):
                layers.append(
                    replace(
                        layer,
                        name=f"{layer.name} {self._mark}{image}",
                        view=self._of_image(layer.view, image),
                        y=self._named(layer.y, image),
                        residual=self._operand(layer.residual, image),
                        phase=self._part(layer, image),
                        twin=start + number if image else None,
                    )
                )

    def _named(self, tensor: str, image: int) -> str:
        return tensor if tensor in self._shared else f"{tensor}{self._mark}{image}"

    def _of_image(self, view: View, image: int) -> View:
        groups = tuple((self._named(name, image), group) for name, group in view.groups)
        rows = tuple(image * self._graph.tensors[name].height if name in self._shared else 0 for name, _ in view.groups)
        return replace(view, groups=groups, rows=rows)

    def _operand(self, residual: Residual | None, image: int) -> Residual | None:
        return None if residual is None else replace(residual, view=self._of_image(residual.view, image))

    def _part(self, layer: EngineLayer, image: int) -> Phase | None:
        """The rows that an image's pass fills."""
        if layer.y not in self._shared:
            return layer.phase
        (height, width), (y, x) = layer.output.plane, layer.output.first
        return Phase((height * self._images, width), (y + image * height, x), layer.output.step)
