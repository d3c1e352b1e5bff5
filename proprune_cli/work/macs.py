"""Multiply-accumulates: what each count means, defined once for pruning, compiler, prediction and docs.

Of a *network*, for one image, over convolutions, transposed convolutions and fully connected layers:

- **dense MACs** (``macs``): every weight times every place it is applied to, whatever its value. A convolution applies
  each weight at every output pixel, those at the border included, where it meets padding; a transposed one at every
  input pixel; a fully connected layer once. Pooling, resizing, normalisation and what the host computes have none.
- **non-zero MACs** (``nonzero_macs``): those of them whose weight is not zero, in the network as it was given.

Of an *array* that runs the compiled network:

- **issued MACs** (``issued_macs``): products that the array forms between an input lane that is fed a channel and an
  output lane that makes a filter, whatever the weight, average pooling's included. Taps without any weight are not in
  the program and issue nothing; lanes, pixels and cycles that idle do not either.
- **useful MACs** (``useful_macs``): issued ones that the network asks for, with a weight that is not zero in int8.
- **utilisation**: useful MACs ÷ (cycles × multiply-accumulates of the array in a cycle). Never above 1: of a layer that
  begins while the layer before still stores, all cycles count in which the array works for it.

So useful ≤ issued ≤ cycles × MACs per cycle, and useful ≤ non-zero ≤ dense.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkMacs:
    """Dense and non-zero multiply-accumulates of a network, or of a part of one."""

    dense: int = 0
    nonzero: int = 0

    @staticmethod
    def of_weight(weights: int, nonzero: int, applied: int) -> NetworkMacs:
        """Of ``weights`` weights, ``nonzero`` of which are not zero, each ``applied`` times to one image."""
        return NetworkMacs(weights * applied, nonzero * applied)

    def __add__(self, other: NetworkMacs) -> NetworkMacs:
        return NetworkMacs(self.dense + other.dense, self.nonzero + other.nonzero)

    def times(self, images: int) -> NetworkMacs:
        """Of so many images."""
        return NetworkMacs(self.dense * images, self.nonzero * images)

    def dealt(self, parts: int) -> list[NetworkMacs]:
        """As even shares that add up to this."""

        def shares(total: int) -> list[int]:
            return [total // parts + (total % parts if part == 0 else 0) for part in range(parts)]

        return [NetworkMacs(*pair) for pair in zip(shares(self.dense), shares(self.nonzero), strict=True)]


@dataclass(frozen=True)
class ArrayMacs:
    """Issued and useful multiply-accumulates of an array."""

    issued: int = 0
    useful: int = 0

    def __add__(self, other: ArrayMacs) -> ArrayMacs:
        return ArrayMacs(self.issued + other.issued, self.useful + other.useful)


def utilisation(useful: int, cycles: int, macs_per_cycle: int) -> float:
    """Useful multiply-accumulates ÷ those that the array could have done in ``cycles``; 0 to 1."""
    return useful / (cycles * macs_per_cycle) if cycles else 0.0
