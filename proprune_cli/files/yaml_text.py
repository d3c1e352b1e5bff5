"""YAML of files: plain values alone, no deeper and no larger than somebody writes by hand, aliases written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from proprune_cli.files.limits import YAML_BYTES, YAML_DEPTH, YAML_NODES
from proprune_cli.files.read import read_file


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value of a YAML file.

    Raises:
        OSError, InputError: it cannot be read. UnicodeDecodeError: it is not UTF-8.
        yaml.YAMLError: it is no YAML, or too large or too deeply nested.
    """
    text = read_file(path, YAML_BYTES).decode("utf-8")
    _check(text)
    try:
        return loader(text).get_single_data()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # a date in month 13, a list as a key
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


def _check(text: str) -> None:
    """Count what the text stands for, event by event, before any value is made.

    Raises:
        yaml.YAMLError: it is no YAML, or stands for too much.
    """
    # Nodes and depth below: of each open collection with its anchor, and of each anchor.
    open_nodes: list[tuple[str | None, int, int]] = []
    anchors: dict[str, tuple[int, int]] = {}

    def close(anchor: str | None, nodes: int, depth: int) -> None:
        if anchor is not None:
            anchors[anchor] = (nodes, depth)
        if nodes > YAML_NODES or depth + len(open_nodes) > YAML_DEPTH:
            raise yaml.YAMLError(
                f"it stands for more than {YAML_NODES} values or is nested more than {YAML_DEPTH} deep"
            )
        if open_nodes:
            above, count, deepest = open_nodes.pop()
            open_nodes.append((above, count + nodes, max(deepest, depth + 1)))
            if count + nodes > YAML_NODES:
                raise yaml.YAMLError(f"it stands for more than {YAML_NODES} values")

    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                open_nodes.append((event.anchor, 1, 1))
                if len(open_nodes) > YAML_DEPTH:
                    raise yaml.YAMLError(f"it is nested more than {YAML_DEPTH} deep")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                close(*open_nodes.pop())
            case yaml.ScalarEvent():
                close(event.anchor, 1, 1)
            case yaml.AliasEvent():
                if event.anchor not in anchors:
                    raise yaml.YAMLError(f"the alias {event.anchor!r} stands for nothing, or for itself")
                close(None, *anchors[event.anchor])
            case _:
                pass
