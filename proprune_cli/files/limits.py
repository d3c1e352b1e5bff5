"""How much a file may ask for, each limit with its reason. A file is held against them before memory is."""

from __future__ import annotations

import os

MIB = 1 << 20
GIB = 1 << 30

JSON_BYTES = 32 * MIB
"""The longest that is written here, the channels of a large network, has some 2 MiB. Parsed, a text of empty lists
takes twenty times its length."""

YAML_BYTES = MIB
"""Run files, boards and arrays are written by hand."""

YAML_NODES = 10_000
"""Values of a YAML text with every alias written out: nine lines of aliases otherwise stand for a billion values."""

YAML_DEPTH = 32
"""Sections within sections; ours have three."""

ARTIFACT_BYTES = GIB
"""The boards' processors address no more, and the largest of the zoo has 140 MiB."""

MODEL_BYTES = GIB
"""An ONNX file with its external weights. Protobuf ends at 2 GiB; VGG-16, the largest that is known to fit a board, has
0.6."""

MODEL_NODES = 100_000
"""Nodes of an ONNX model after its local functions were put in place: they may double at each level of calls."""

TENSOR_ELEMENTS = 1 << 26
"""Of one tensor that a model makes, as of one input image: 8192 x 8192 pixels, 256 MiB in float32."""

MADE_BYTES = GIB
"""Constants that a model has computed while it is read, all together."""

HOST_SECONDS = 60.0
"""A host step or a host segment for one image. The longest of the tests take 0.1 s."""

UNPACKED_BYTES = 2 * GIB
"""What a compressed file, or one without an end, such as a pipe, may become in memory."""

PIXELS = 1 << 26
"""Of one picture of a data set; a PNG file of a few kilobytes can hold 2^62."""

CLASSES = 1 << 20
"""Of a data set, counted by its largest label; the largest that people use have some 20,000."""

PARAMETERS = 1 << 28
"""Of a network of the zoo, 1 GiB: VGG-16 at full size has half of that. The description of a run may name any width."""

ACTIVATIONS = 1 << 27
"""Of one tensor in the trial run of a network of the zoo with two images: 64 channels of 1024 x 1024 pixels."""


def whole_file_bytes() -> int:
    """Largest file that is read whole into memory: half of what this machine has.

    Such a file has at least the size it asks for, so this only keeps a mistake from stopping the machine.
    """
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
