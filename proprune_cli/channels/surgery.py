"""Removes channels from a network, and proves that what is left computes what the masked network computes."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.groups import RESHAPES, ChannelMap, Kept, Reshape, is_reshape
from proprune_cli.channels.labels import Ids
from proprune_cli.channels.recorder import Node
from proprune_cli.channels.spread import FILL, spread, unspread
from proprune_cli.channels.trace import replay
from proprune_cli.errors import UnsupportedError
from proprune_cli.files.records import value_of
from proprune_cli.modules.outputs import difference_by_image, shapes_of, tensors_of
from proprune_cli.modules.probe import at_another_size

Cuts = dict[str, dict[int, list[int]]]
"""Parameter or buffer → axis → indices that stay, rising. Plain numbers: this is what a run stores.

Beside them stand ``MODULE:groups`` → 0 → [number of groups], and ``MODULE:spread`` → 0 → index of a spread layer,
1 → [number of constants filled in]; an empty index: the layer is plain again. ``MODULE:bias``: it gets a bias.
"""

_MOST_CHANNELS = 1 << 20
"""No layer has so many; a file that says so asks for memory."""

RELATIVE_TOLERANCE = 1e-4
_ROUNDING = 1e-5
"""Differences from here on are looked at in float64."""
_REMEDY = "exclude the layers concerned (--exclude), and report this network"
GROUPS, SPREAD, BIAS = ":groups", ":spread", ":bias"


class SurgeryError(UnsupportedError):
    """The pruned network does not compute what the masked network computes (exit 3)."""


class RearrangedError(SurgeryError):
    """An operator of the network's code names a number of channels (exit 3)."""

    def __init__(self, operator: Reshape, what: str, where: str, remedy: str) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.operator = operator


def cuts_for(
    channels: ChannelMap,
    kept: Kept,
    tensors: Mapping[str, torch.Tensor],
    constants: Mapping[str, tuple[Ids, int]] | None = None,
) -> Cuts:
    """Which indices of which axes stay, and how grouped and spread layers change.

    Args:
        constants: for a module that is spread, which constant each of its channels leaves when it is removed, and
            how many constants there are; 0, the constant 0, where it is not named.
    """
    stay = channels.survivors(kept)
    keep: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
    for group, alive in zip(channels.groups, stay, strict=True):
        if alive.all():
            continue
        for member in group.members:
            length = tensors[member.tensor].shape[member.dim]
            mask = keep.setdefault((member.tensor, member.dim), np.ones(length, dtype=np.bool_))
            mask[member.index[~alive].reshape(-1)] = False
    cuts: Cuts = {}
    for (tensor, dim), mask in keep.items():
        cuts.setdefault(tensor, {})[dim] = np.flatnonzero(mask).tolist()
    for whole in channels.whole:
        alive = whole.out.stay(stay)
        if not alive.all():
            cuts[whole.module + GROUPS] = {0: [whole.groups * int(alive.sum()) // len(alive)]}
    for site in channels.sites:
        source, place = site.source.stay(stay), site.place.stay(stay)
        if source.all() and place.all():
            continue
        width = int(source.sum())
        left, fills = (constants or {}).get(site.module, (np.zeros(len(source), dtype=np.int64), site.fills))
        rank = np.where(source, np.cumsum(source) - 1, width + left)
        index = np.where(site.index >= 0, rank[np.maximum(site.index, 0)], width - 1 - site.index)[place]
        plain = len(index) == width and bool((index == np.arange(width)).all())
        cuts[site.module + SPREAD] = {0: [] if plain else index.tolist(), 1: [fills]}
    return cuts


def cuts_of(value: object) -> Cuts:
    """Inverse of what JSON makes of `Cuts`.

    Raises:
        ValueError: it is none: an axis would keep an index twice, or a number is out of all proportion.
    """
    raw = value_of(dict[str, dict[str, list[int]]], value, "cuts")
    cuts = {name: {int(axis): kept for axis, kept in axes.items()} for name, axes in raw.items()}
    for name, axes in cuts.items():
        for axis, kept in axes.items():
            rising = ":" in name or all(a < b for a, b in itertools.pairwise(kept))
            if not 0 <= axis < 8 or not rising or any(n >= _MOST_CHANNELS or n < -_MOST_CHANNELS for n in kept):
                raise ValueError(f"cuts.{name[:60]} is no list of rising indices")
            if ":" not in name and kept and kept[0] < 0:
                raise ValueError(f"cuts.{name[:60]} has a negative index")
    return cuts


def shrink(model: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy of ``model`` without the channels that ``cuts`` leaves out."""
    made: dict[int, torch.Tensor] = {}
    """What deepcopy takes instead of copying: large weights are cut without a copy of the whole."""
    for name, old in all_tensors(model):
        if name not in cuts:
            continue
        data = old.detach()
        # The axis that loses most goes first.
        for dim, indices in sorted(cuts[name].items(), key=lambda item: len(item[1]) / old.shape[item[0]]):
            data = data.index_select(dim, torch.tensor(indices, dtype=torch.int64, device=data.device))
        data = data.contiguous()
        made[id(old)] = nn.Parameter(data, old.requires_grad) if isinstance(old, nn.Parameter) else data
    known = {name for name, _ in all_tensors(model)}
    smaller = copy.deepcopy(model, dict(made))
    for key, axes in cuts.items():
        name, colon, what = key.rpartition(":")
        if not colon:
            if key not in known:
                raise KeyError(key)
            continue
        module = smaller.get_submodule(name)
        if what == GROUPS[1:]:
            setattr(module, "num_groups" if isinstance(module, nn.GroupNorm) else "groups", axes[0][0])
        elif what == BIAS[1:]:
            add_bias(module)
        elif axes[0]:
            spread(module, axes[0], getattr(module, FILL, torch.zeros(axes[1][0])))
        else:
            unspread(module)
    for module in smaller.modules():
        _update_counts(module)
    return smaller


def masked(model: nn.Module, channels: ChannelMap, kept: Kept) -> nn.Module:
    """A copy of ``model``, of its full size, whose removed channels are zero where they are made.

    Where a channel passes through f with f(0) ≠ 0 on the way, its readers' weights are zero too.
    """
    dense = copy.deepcopy(model)
    tensors = dict(all_tensors(dense))
    with torch.no_grad():
        for group, alive in zip(channels.groups, channels.survivors(kept), strict=True):
            for member in group.members:
                if not alive.all() and (member.role == "out" or (member.role == "in" and group.lifted)):
                    index = torch.from_numpy(member.index[~alive].reshape(-1))
                    tensors[member.tensor].index_fill_(member.dim, index, 0.0)
    return dense


def prove(
    model: nn.Module, pruned: nn.Module, channels: ChannelMap, kept: Kept, inputs: torch.Tensor, where: str = "model"
) -> float:
    """`verify` against the masked network; and no number that the network computes with follows the channels.

    Raises:
        RearrangedError: an operator that rearranges channels does not follow their number.
        SurgeryError: the pruned network is wrong for another reason.
    """
    try:
        error = verify(pruned, masked(model, channels, kept), inputs, where)
        _check_numbers(model, pruned, inputs[:2], where)
        return error
    except SurgeryError as error:
        blamed = _blamed(pruned, channels, kept, inputs[:2])
        if blamed is None:
            raise
        raise RearrangedError(blamed, f"{error.what} (at {blamed.name})", where, error.remedy) from error


def check_training(model: nn.Module, pruned: nn.Module, idle: list[str], inputs: torch.Tensor, where: str) -> None:
    """See that heads that run in training mode alone still fit; without values, so that no statistic moves.

    Args:
        idle: parameters and buffers that are not read in eval mode.

    Raises:
        SurgeryError: ``model`` runs in training mode, and ``pruned`` does not.
    """
    try:
        if replay(model.train(), inputs)[1] or not replay(pruned.train(), inputs)[1]:
            return
    finally:
        model.eval()
        pruned.eval()
    heads = sorted({name.rpartition(".")[0] for name in idle})
    raise SurgeryError(
        f"in training mode the pruned network does not run: {', '.join(heads[:6])} work only then, and read channels "
        "that were removed",
        where=where,
        remedy="leave these heads out of the network, or exclude the layers that they read (--exclude)",
    )


_NUMBERS = ("other", "exponent", "min", "max", "value", "fill_value", "threshold", "weight")
"""Arguments of elementwise operators that are numbers in a network's arithmetic, not sizes."""
_ARITHMETIC = frozenset(
    {"add", "sub", "rsub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "clamp", "clamp_min", "clamp_max"}
    | {"eq", "ne", "lt", "le", "gt", "ge", "fill", "full", "scalar_tensor", "masked_fill", "threshold", "lerp"}
)


def _numbers(nodes: list[Node]) -> list[tuple[str, tuple[float, ...]]]:
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
    before = _numbers(replay(model, inputs)[0])
    if not before:
        return
    after = _numbers(replay(pruned, inputs)[0])
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
    nodes, failed = replay(pruned, inputs)
    found = [n for n in nodes if is_reshape(n)]
    for reshape, node in zip(channels.reshapes, found, strict=False):
        if len(reshape.place.group) and node.shape[reshape.axis] != int(reshape.place.stay(stay).sum()):
            return reshape
    if len(found) < len(channels.reshapes) and failed in RESHAPES:
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
            remedy=_REMEDY,
        )
    return error


def _exact_difference(pruned: nn.Module, reference: nn.Module, inputs: torch.Tensor, where: str) -> float:
    """In float64; infinite where a network's code asks for float32."""
    double = [copy.deepcopy(model).double() for model in (pruned, reference)]
    try:
        return _difference(double[0], double[1], inputs.double(), where)
    except (SurgeryError, RuntimeError, TypeError):
        return math.inf


def _difference(pruned: nn.Module, reference: nn.Module, inputs: torch.Tensor, where: str) -> float:
    with torch.no_grad():
        expected = tensors_of(reference.eval()(inputs))
        try:
            found = tensors_of(pruned.eval()(inputs))
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise SurgeryError(
                f"the pruned network does not run: {first[:300]}",
                where=where,
                remedy="its code may name a number of channels; use sizes of tensors, such as torch.flatten(x, 1), "
                "or exclude the layers before it (--exclude)",
            ) from error
    if shapes_of(found) != shapes_of(expected):
        raise SurgeryError(
            f"the pruned network gives {shapes_of(found)}, the dense one {shapes_of(expected)}",
            where=where,
            remedy=_REMEDY,
        )
    return difference_by_image(found, expected)


def all_tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters and buffers by every name they have."""
    return [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]


def add_bias(module: nn.Module) -> None:
    """Give a convolution or fully connected layer without bias one of zeros."""
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise KeyError("weight")
    transposed = isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    channels = weight.shape[1] * int(getattr(module, "groups", 1)) if transposed else weight.shape[0]
    module.register_parameter("bias", nn.Parameter(weight.new_zeros(channels)))


def _update_counts(module: nn.Module) -> None:
    """The numbers of channels a module remembers follow its weights and groups."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        module.in_channels = module.weight.shape[0]
        module.out_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        known = module.weight if module.affine else module.running_mean
        if known is not None:
            module.num_features = known.shape[0]
    elif isinstance(module, (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)):
        if module.affine:
            module.num_features = module.weight.shape[0]
    elif isinstance(module, nn.GroupNorm):
        if module.affine:
            module.num_channels = module.weight.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
