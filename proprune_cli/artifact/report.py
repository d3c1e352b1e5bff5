"""What the commands tell of the quantiser's report in an artifact; the rest of it is for other programs to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proprune_cli.errors import InputError
from proprune_cli.files.records import value_of


@dataclass(frozen=True)
class Quantised:
    """How well the int8 network follows the float network, on the calibration images.

    Attributes:
        output_db: signal above the error at the output, dB; None where there is no error.
        outputs_db: the same of each output, by name. lost_at: the layer at which a signal is lost; else empty.
        images: that were used. limited, channels: channels with a widened scale, and all.
    """

    output_db: float | None
    outputs_db: dict[str, float | None]
    lost_at: str
    images: int
    limited: int
    channels: int


def quantised(report: Mapping[str, Any], where: str) -> Quantised:
    """The summary of an artifact's ``report``.

    Raises:
        InputError: it is not what the compiler writes.
    """
    try:
        layers = value_of(list[dict[str, Any]], report["layers"], "layers")
        return Quantised(
            output_db=value_of(float | None, report["output_sqnr_db"], "output_sqnr_db"),
            outputs_db=value_of(dict[str, float | None], report.get("outputs_db", {}), "outputs_db"),
            lost_at=value_of(str, report.get("lost_at", ""), "lost_at"),
            images=value_of(int, report["images"], "images"),
            limited=sum(value_of(int, layer["limited_channels"], "limited_channels") for layer in layers),
            channels=sum(value_of(int, layer["channels"], "channels") for layer in layers),
        )
    except (KeyError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"the artifact's report is malformed: {what}", where=where, remedy="compile the network again"
        ) from error
