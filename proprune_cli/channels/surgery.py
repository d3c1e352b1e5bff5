"""Removes channels (`cutting`), proves that what is left computes what the masked network computes, and finds what is
to blame where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import nn

from proprune_cli.channels.cutting import BIAS, SPREAD, Cuts, add_bias, all_tensors, cuts_for, cuts_of, masked, shrink
from proprune_cli.channels.groups import RESHAPES, ChannelMap, Kept, Reshape, is_reshape
from proprune_cli.channels.recorder import Node
from proprune_cli.channels.trace import replay
from proprune_cli.errors import UnsupportedError
from proprune_cli.modules.copying import copied
from proprune_cli.modules.failures import told
from proprune_cli.modules.outputs import difference_by_image, shapes_of, tensors_of
from proprune_cli.modules.probe import at_another_size
from proprune_cli.modules.restored import restored

__all__ = [
    "BIAS", "RELATIVE_TOLERANCE", "SPREAD", "Cuts", "FixedError", "RearrangedError", "StopsError", "SurgeryError",
    "add_bias", "all_tensors", "check_training", "cuts_for", "cuts_of", "masked", "prove", "shrink", "verify",
]  # fmt: skip

RELATIVE_TOLERANCE = 1e-4
_ROUNDING = 1e-5
"""Differences from here on are looked at in float64."""


class SurgeryError(UnsupportedError):
    """The pruned network does not compute what the masked network computes (exit 3)."""


class StopsError(SurgeryError):
    """The code of the network does not run with fewer channels (exit 3)."""


class RearrangedError(SurgeryError):
    """An operator of the network's code names a number of channels (exit 3)."""

    def __init__(self, operator: Reshape, what: str, where: str, remedy: str) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.operator = operator


class FixedError(SurgeryError):
    """The network's code does not run with fewer channels of some groups, and these are known (exit 3)."""

    def __init__(self, layers: Sequence[str], error: StopsError) -> None:
        super().__init__(
            f"{error.what} (layers {_named(layers)})",
            where=error.where,
            remedy=_REMEDY.format(_named(layers, " --exclude ")),
        )
        self.layers = tuple(layers)
        """Modules that make these channels."""
        self.said = error.what.removeprefix(_STOPS)


_STOPS = "the pruned network does not run: "
_REMEDY = "leave these layers alone: --exclude {}"


def _named(layers: Sequence[str], between: str = ", ") -> str:
    return between.join(layers[:4]) + (between.strip(" ")[:1] + " …" if len(layers) > 4 and between == ", " else "")


def prove(
    model: nn.Module,
    pruned: nn.Module,
    channels: ChannelMap,
    kept: Kept,
    inputs: torch.Tensor,
    where: str = "model",
    settled: Collection[str] = (),
) -> float:
    """`verify` against the masked network; and no number that the network computes with follows the channels.

    Args:
        settled: operators that rearrange channels whose channels all stay: others are to blame.

    Raises:
        RearrangedError: an operator that rearranges channels does not follow their number.
        FixedError: code that does not run with fewer channels of some groups.
        SurgeryError: the pruned network is wrong for another reason.
    """

    def check(part: nn.Module, of: Kept) -> float:
        error = verify(part, masked(model, channels, of), inputs, where)
        _check_numbers(model, part, inputs[:2], where)
        return error

    try:
        return check(pruned, kept)
    except SurgeryError as error:
        blamed = _blamed(pruned, channels, kept, inputs[:2])
        if blamed is not None and blamed.name not in settled:
            raise RearrangedError(blamed, f"{error.what} (at {blamed.name})", where, error.remedy) from error
        layers = _layers_to_blame(model, channels, kept, check, error)
        if layers and isinstance(error, StopsError):
            raise FixedError(layers, error) from error
        if layers:
            what = f"{error.what} (layers {_named(layers)})"
            raise SurgeryError(
                what, where=where, remedy=f"{error.remedy}; {_REMEDY.format(_named(layers, ' --exclude '))}"
            ) from error
        raise


def _layers_to_blame(
    model: nn.Module, channels: ChannelMap, kept: Kept, check: Callable[[nn.Module, Kept], float], error: SurgeryError
) -> list[str]:
    """Layers whose channels alone, removed, make the network fail as it did; or that do so together alone, as branches
    of one stream whose channels go when all have dropped them."""
    tensors = dict(all_tensors(model))

    def fails(places: Sequence[int]) -> bool:
        part = {place: kept[place] for place in places}
        try:
            check(shrink(model, cuts_for(channels, part, tensors)), part)
        except SurgeryError as found:
            return isinstance(found, StopsError) == isinstance(error, StopsError)
        return False

    def search(places: Sequence[int]) -> list[int]:
        if not places or not fails(places):
            return []
        if len(places) == 1:
            return list(places)
        half = len(places) // 2
        return search(places[:half]) + search(places[half:])

    cut = [place for place, stay in sorted(kept.items()) if len(stay) < channels.groups[place].channels]
    half = len(cut) // 2
    found = search(cut[:half]) + search(cut[half:]) if len(cut) > 1 else cut
    if not found:
        found = list(cut)
        for place in cut:
            rest = [other for other in found if other != place]
            found = rest if rest and fails(rest) else found
    return list(dict.fromkeys(layer for place in found for layer in channels.groups[place].layers))


def check_training(model: nn.Module, pruned: nn.Module, idle: list[str], inputs: torch.Tensor, where: str) -> None:
    """See that heads that run in training mode alone still fit; without values, so that no statistic moves.

    Args:
        idle: parameters and buffers that are not read in eval mode.

    Raises:
        SurgeryError: ``model`` runs in training mode, and ``pruned`` does not.
    """
    with restored(model, pruned, parameters=False):
        if replay(model.train(), inputs).error or not (error := replay(pruned.train(), inputs).error):
            return
    heads = sorted({name.rpartition(".")[0] for name in idle})
    raise SurgeryError(
        f"in training mode the pruned network does not run: {', '.join(heads[:6])} work only then, and read channels "
        f"that were removed: {told(error, pruned)}",
        where=where,
        remedy="leave these heads out of the network, or exclude the layers that they read (--exclude)",
    )


_NUMBERS = ("other", "exponent", "min", "max", "value", "fill_value", "threshold", "weight")
"""Arguments of elementwise operators that are numbers in a network's arithmetic, not sizes."""
_ARITHMETIC = frozenset(
    {"add", "sub", "rsub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "clamp", "clamp_min", "clamp_max"}
    | {"eq", "ne", "lt", "le", "gt", "ge", "fill", "full", "scalar_tensor", "masked_fill", "threshold", "lerp"}
)


def _numbers(nodes: Sequence[Node]) -> list[tuple[str, tuple[float, ...]]]:
    """The numbers that arithmetic operators take, one after the other."""
    found: list[tuple[str, tuple[float, ...]]] = []
    for node in nodes:
        if node.op in _ARITHMETIC:
            given = [node.arguments.get(name) for name in _NUMBERS]
            numbers = tuple(float(x) for x in given if isinstance(x, int | float) and not isinstance(x, bool))
            if numbers:
                found.append((node.op, numbers))
    return found


def _check_numbers(model: nn.Module, pruned: nn.Module, inputs: torch.Tensor, where: str) -> None:
    """Refuse arithmetic with a number that comes from a number of channels, such as ``x / x.shape[1]``.

    What random inputs show of it may be nothing: a clamp at 64 that becomes one at 32.

    Raises:
        SurgeryError: the two networks compute with different numbers.
    """
    before = _numbers(replay(model, inputs).nodes)
    if not before:
        return
    after = _numbers(replay(pruned, inputs).nodes)
    for (op, dense), (other, now) in zip(before, after, strict=False):
        if op == other and dense != now:
            raise SurgeryError(
                f"the network's code computes with a number of channels: {op} with {_listed(dense)}, in the pruned "
                f"network with {_listed(now)}",
                where=where,
                remedy="write the number as a constant in place of a tensor's shape, or exclude the layers that make "
                "those channels (--exclude)",
            )


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _blamed(pruned: nn.Module, channels: ChannelMap, kept: Kept, inputs: torch.Tensor) -> Reshape | None:
    """The first operator whose result has not the shape that the surviving channels ask for."""
    stay = channels.survivors(kept)
    again = replay(pruned, inputs)
    found = [n for n in again.nodes if is_reshape(n)]
    for reshape, node in zip(channels.reshapes, found, strict=False):
        if len(reshape.place.group) and node.shape[reshape.axis] != int(reshape.place.stay(stay).sum()):
            return reshape
    if len(found) < len(channels.reshapes) and again.operator in RESHAPES:
        return channels.reshapes[len(found)]
    return None


def verify(pruned: nn.Module, reference: nn.Module, inputs: torch.Tensor, where: str = "model") -> float:
    """Largest difference of the two networks' outputs in eval mode, over the largest of each output of ``reference``
    for each image; also on an image of another size, where ``reference`` runs on it (`at_another_size`).

    Where rounding shows (deep networks enlarge it, and the places that a max pooling chose flip), float64 decides.

    Raises:
        SurgeryError: the pruned network does not run, or differs by more than 1e-4.
    """
    other = at_another_size(reference, inputs)
    error = 0.0
    for images in (inputs,) if other is None else (inputs, other):
        found = _difference(pruned, reference, images, where)
        if found > _ROUNDING:
            found = min(found, _exact_difference(pruned, reference, images, where))
        error = max(error, found)
    if error > RELATIVE_TOLERANCE:
        raise SurgeryError(
            f"the pruned network differs from the masked one by {error:.2g} of the largest output",
            where=where,
            remedy=_UNFOLLOWED,
        )
    return error


_UNFOLLOWED = "its code may compute with numbers of channels or with their order, which no shape shows"


def _exact_difference(pruned: nn.Module, reference: nn.Module, inputs: torch.Tensor, where: str) -> float:
    """In float64; infinite where a network's code asks for float32."""
    double = [copied(model).double() for model in (pruned, reference)]
    try:
        return _difference(double[0], double[1], inputs.double(), where)
    except Exception:  # noqa: BLE001  # of the network's code: float32 decides
        return math.inf


def _difference(pruned: nn.Module, reference: nn.Module, inputs: torch.Tensor, where: str) -> float:
    with torch.no_grad(), restored(pruned, reference, parameters=False):
        expected = tensors_of(reference.eval()(inputs))
        try:
            found = tensors_of(pruned.eval()(inputs))
        except Exception as error:
            raise StopsError(
                f"{_STOPS}{told(error, pruned)}",
                where=where,
                remedy="its code may name a number of channels; use sizes of tensors, such as torch.flatten(x, 1), "
                "or exclude the layers before it (--exclude)",
            ) from error
        if shapes_of(found) != shapes_of(expected):
            raise StopsError(
                f"{_STOPS}it gives {shapes_of(found)}, the dense one {shapes_of(expected)}",
                where=where,
                remedy=_UNFOLLOWED,
            )
        return difference_by_image(found, expected)
