"""Where in a program something stands, and the error that says so."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proprune_cli.errors import InputError


@dataclass(frozen=True)
class Site:
    """A place in a program: layer, and within it perhaps a step, a block and a tap (all counted from 0)."""

    layer: str
    step: int | None = None
    block: int | None = None
    tap: int | None = None

    def at_step(self, step: int) -> Site:
        return replace(self, step=step, block=None, tap=None)

    def at_block(self, block: int, tap: int | None = None) -> Site:
        return replace(self, block=block, tap=tap)

    def __str__(self) -> str:
        parts = [f"layer {self.layer}"]
        parts += [
            f"{n} {v}" for n, v in (("step", self.step), ("block", self.block), ("tap", self.tap)) if v is not None
        ]
        return ", ".join(parts)

    def fault(self, what: str) -> InputError:
        """The error for an inconsistent program; the caller raises it."""
        return InputError(
            f"inconsistent program: {what}",
            where=str(self),
            remedy="compile the network again with this version of proprune",
        )
