"""What a run gives to the commands after it: its networks in ONNX and safetensors, images to calibrate and to test."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from proprune_cli.data.dataset import Dataset
from proprune_cli.nets.export import to_onnx
from proprune_cli.prune.options import PruneOptions
from proprune_cli.prune.phases import Network, fingerprint, must
from proprune_cli.prune.result import NETWORK_FILES
from proprune_cli.prune.saved import Architecture, network_files, save_network
from proprune_cli.train.workspace import Workspace


def publish(
    networks: Mapping[str, Network | None], options: PruneOptions, data: Dataset, out: Workspace, example: torch.Tensor
) -> list[str]:
    """Publish the networks of a run that there are, and images; names of the files.

    Args:
        networks: by their names in `NETWORK_FILES`; files of those that are missing are withdrawn.
        example: an image as networks take it, float32 [1 or more, C, H, W].

    Raises:
        UnsupportedError: torch cannot export a network.
    """
    files: list[str] = []
    for name, onnx_name in NETWORK_FILES.items():
        network = networks.get(name)
        if network is None:
            # Of before, where a run goes on with other options.
            for old in (onnx_name, *network_files(name)):
                out.withdraw(old)
            continue
        normalisation = data.normalisation
        stage = out.stage(f"export-{name}", {"start": fingerprint(network.model), "normalisation": normalisation})
        if not stage.done:
            stage.write(onnx_name, to_onnx(network.model, example, name, normalisation))
            stage.commit()
        out.publish(onnx_name, must(stage.read(onnx_name), onnx_name))
        architecture = Architecture(
            options.model, data.in_channels, len(data.classes), data.size, network.cuts, normalisation
        )
        files += [onnx_name, *save_network(out.publish, name, architecture, network.model)]
    out.publish("calibration.npy", _npy(data.sample(options.calibration)))
    files.append("calibration.npy")
    if options.test_images:
        count = min(options.test_images, len(data.test))
        part = data.test.take(np.linspace(0, len(data.test) - 1, count, dtype=np.int64))
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=part.images.astype(np.float32), labels=part.labels)
        out.publish("test.npz", buffer.getvalue())
        files.append("test.npz")
    return files


def _npy(array: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
