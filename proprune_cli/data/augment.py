"""What may be done to training images."""

from __future__ import annotations

from typing import Literal

Moves = Literal["none", "crop", "crop+flip"]
"""Nothing; a random shift of the image; that, and half of the images mirrored."""

Augment = Literal["auto", "none", "crop", "crop+flip"]
"""``auto``: what is known to suit the data set: nothing for a user's own, whose images may be no photographs."""
