"""What a power meter is to the rest of proprune. One file in this directory for each kind of meter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PowerTrace:
    """Power over time at one point of the board.

    Attributes:
        seconds: float64 [samples], of a monotonic clock, rising. watts: float64 [samples].
        point: where it was measured, such as "board supply" or a rail's name.
        meter: which instrument measured it, with its serial number where it has one.
    """

    seconds: NDArray[np.float64]
    watts: NDArray[np.float64]
    point: str
    meter: str

    def energy_j(self) -> float:
        """Energy over the whole trace in joules, by the trapezoidal rule; 0 for fewer than two samples."""
        steps = np.diff(self.seconds)
        return float((steps * (self.watts[1:] + self.watts[:-1]) / 2).sum())


class PowerMeter(Protocol):
    """An instrument that records between `start` and `stop`."""

    @property
    def name(self) -> str:
        """Instrument and point of measurement, as a record names its source."""
        ...

    def start(self) -> None:
        """Begin to record.

        Raises:
            BoardError: the instrument does not answer.
        """
        ...

    def stop(self) -> PowerTrace:
        """End the recording and return it.

        Raises:
            BoardError: the instrument does not answer, or lost samples.
        """
        ...
