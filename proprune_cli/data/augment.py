"""What may be done to training images."""

from __future__ import annotations

from typing import Literal

Augment = Literal["auto", "none", "crop", "crop+flip"]
"""``auto``: what suits the data set."""
