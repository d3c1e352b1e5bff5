"""Channel rules, family by family: tiny networks, pruned in both residual modes, equal to their masked twins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.channels.trace import trace
from proprune_cli.errors import UnsupportedError
from proprune_cli.modules.probe import example_input
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network

Body = Callable[[nn.Module, torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """Layers by name, and a function that puts them together."""

    def __init__(self, body: Body, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self, x)


def conv(cin: int, cout: int, kernel: int = 3, **more: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, padding=kernel // 2, **more)


def head(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3))


def norms_as_trained(model: nn.Module) -> nn.Module:
    torch.manual_seed(7)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def cut(
    model: nn.Module, residual: str = "coupled", method: str = "random", multiple: int = 1, seed: int = 0
) -> Shrunk:
    options = PruneOptions(
        model="test",
        data="-",
        budget=Budget("ratio", 0.5),
        method=method,
        multiple=multiple,
        residual=residual,
        seed=seed,
    )
    return prune_network(norms_as_trained(model), 3, (8, 8), options)


def kept(shrunk: Shrunk) -> dict[str, tuple[int, int]]:
    return {g.name: (g.channels, g.kept) for g in shrunk.groups}


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def split_attention(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Two streams stacked, weighed by a softmax between them, and summed (as in SKNet)."""
    both = torch.stack([m.a(x), m.b(x)], 1)
    weight = torch.softmax(torch.stack([m.p(head(both.sum(1))), m.q(head(both.sum(1)))], 1), 1)
    return m.fc(head((both * weight[..., None, None]).sum(1)))


def scaled_shortcut(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    y += m.b(y) * m.gamma.weight.view(1, -1, 1, 1)
    y += m.c(nnf.relu_(y.clone()))
    return m.fc(head(y))


def gate(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = m.bn(m.a(x))
    squeezed = nnf.adaptive_avg_pool2d(y, 1).flatten(1)
    return m.fc(head(y * nnf.hardsigmoid(m.up(nnf.relu(m.down(squeezed)))).unsqueeze(-1).unsqueeze(-1)))


FAMILIES: dict[str, tuple[Body, dict[str, nn.Module]]] = {
    "grouped, few groups": (
        lambda m, x: m.fc(head(m.c(nnf.relu(m.g(nnf.relu(m.a(x))))))),
        {"a": conv(3, 16), "g": conv(16, 16, groups=2), "c": conv(16, 8), "fc": nn.Linear(8, 4)},
    ),
    "grouped, many groups": (
        lambda m, x: m.fc(head(m.c(nnf.relu(m.g(nnf.relu(m.a(x))))))),
        {"a": conv(3, 16), "g": conv(16, 32, groups=8), "c": conv(32, 8), "fc": nn.Linear(8, 4)},
    ),
    "channel shuffle": (
        lambda m, x: m.fc(head(m.c(shuffled(nnf.relu(m.a(x)), 2)))),
        {"a": conv(3, 16), "c": conv(16, 8), "fc": nn.Linear(8, 4)},
    ),
    "shuffle of three, the other way round": (
        lambda m, x: m.fc(head(m.c(m.a(x).unflatten(1, (-1, 3)).permute(0, 2, 1, 3, 4).flatten(1, 2)))),
        {"a": conv(3, 24), "c": conv(24, 8), "fc": nn.Linear(8, 4)},
    ),
    "chunk, one half convolved": (
        lambda m, x: m.fc(head(torch.cat([(h := m.a(x).chunk(2, 1))[0], m.b(h[1])], 1))),
        {"a": conv(3, 16), "b": conv(8, 8), "fc": nn.Linear(16, 4)},
    ),
    "slices into halves": (
        lambda m, x: m.fc(head(m.b((y := m.a(x))[:, : y.shape[1] // 2] * torch.tanh(y[:, y.shape[1] // 2 :])))),
        {"a": conv(3, 16), "b": conv(8, 8), "fc": nn.Linear(8, 4)},
    ),
    "squeeze and excitation": (
        gate,
        {
            "a": conv(3, 16), "bn": nn.BatchNorm2d(16), "down": nn.Linear(16, 8), "up": nn.Linear(8, 16),
            "fc": nn.Linear(16, 4),
        },
    ),
    "pixel shuffle": (
        lambda m, x: m.fc(head(m.b(nnf.pixel_shuffle(m.a(x), 2)))),
        {"a": conv(3, 32), "b": conv(8, 8), "fc": nn.Linear(8, 4)},
    ),
    "pixel unshuffle": (
        lambda m, x: m.fc(head(m.b(nnf.pixel_unshuffle(m.a(x), 2)))),
        {"a": conv(3, 8), "b": conv(32, 8), "fc": nn.Linear(8, 4)},
    ),
    "one module called twice": (
        lambda m, x: m.fc(head(m.s(nnf.relu(m.s(m.a(x)))))),
        {"a": conv(3, 16), "s": conv(16, 16), "fc": nn.Linear(16, 4)},
    ),
    "group norm": (
        lambda m, x: m.fc(head(m.b(nnf.relu(m.gn(m.a(x)))))),
        {"a": conv(3, 16), "gn": nn.GroupNorm(4, 16), "b": conv(16, 8), "fc": nn.Linear(8, 4)},
    ),
    "instance norm": (
        lambda m, x: m.fc(head(m.b(nnf.relu(m.n(m.a(x)))))),
        {"a": conv(3, 16), "n": nn.InstanceNorm2d(16, affine=True), "b": conv(16, 8), "fc": nn.Linear(8, 4)},
    ),
    "flatten, then a norm": (
        lambda m, x: m.fc(m.n(torch.flatten(nnf.max_pool2d(m.a(x), 4), 1))),
        {"a": conv(3, 8), "n": nn.BatchNorm1d(32), "fc": nn.Linear(32, 4)},
    ),
    "transposed and depthwise transposed": (
        lambda m, x: m.fc(head(m.b(m.d(m.t(m.a(x)))))),
        {
            "a": conv(3, 8), "t": nn.ConvTranspose2d(8, 16, 2, 2),
            "d": nn.ConvTranspose2d(16, 16, 2, 2, groups=16), "b": conv(16, 8), "fc": nn.Linear(8, 4),
        },
    ),
    "split attention": (
        split_attention,
        {
            "a": conv(3, 16), "b": conv(3, 16), "p": nn.Linear(16, 16), "q": nn.Linear(16, 16),
            "fc": nn.Linear(16, 4),
        },
    ),
    "additions in place, a scale, several operands": (
        scaled_shortcut,
        {
            "a": conv(3, 16), "b": conv(16, 16), "c": conv(16, 16), "gamma": nn.PReLU(16), "fc": nn.Linear(16, 4),
        },
    ),
    "spatial attention of one channel": (
        lambda m, x: m.fc(head((y := m.a(x)) * torch.sigmoid(m.s(y)).expand_as(y))),
        {"a": conv(3, 16), "s": conv(16, 1), "fc": nn.Linear(16, 4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("residual", ["coupled", "free"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_pruned_and_equals_its_masked_twin(family: str, residual: str) -> None:
    body, layers = FAMILIES[family]
    shrunk = cut(Net(body, **layers), residual)
    assert shrunk.error <= 1e-4
    assert shrunk.macs < 0.85 * shrunk.dense_macs
    assert not [g.name for g in shrunk.groups if g.name == "a" and g.kept == g.channels]


def test_a_grouped_convolution_loses_the_same_channels_in_each_group_or_whole_groups() -> None:
    few = cut(
        Net(
            FAMILIES["grouped, few groups"][0],
            a=conv(3, 16),
            g=conv(16, 16, groups=2),
            c=conv(16, 8),
            fc=nn.Linear(8, 4),
        )
    )
    assert (few.model.g.groups, few.model.g.in_channels, few.model.g.out_channels) == (2, 8, 8)
    many = cut(
        Net(
            FAMILIES["grouped, many groups"][0],
            a=conv(3, 16),
            g=conv(16, 32, groups=8),
            c=conv(32, 8),
            fc=nn.Linear(8, 4),
        )
    )
    assert (many.model.g.groups, many.model.g.in_channels, many.model.g.out_channels) == (4, 8, 16)


@settings(max_examples=12, deadline=None)
@given(
    groups=st.sampled_from([2, 3, 4]), width=st.integers(2, 5), branches=st.integers(1, 3), seed=st.integers(0, 99),
    free=st.booleans(), multiple=st.sampled_from([1, 2]),
)  # fmt: skip
def test_shuffles_and_sums_of_any_shape(
    groups: int, width: int, branches: int, seed: int, free: bool, multiple: int
) -> None:
    channels = groups * width * 2
    layers: dict[str, nn.Module] = {"a": conv(3, channels), "fc": nn.Linear(channels, 4)}
    layers |= {f"b{i}": conv(channels, channels, 1) for i in range(branches)}

    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = nnf.relu(m.a(x))
        for i in range(branches):
            y = nnf.relu(y + m.get_submodule(f"b{i}")(shuffled(y, groups)))
        return m.fc(head(y))

    shrunk = cut(Net(body, **layers), "free" if free else "coupled", multiple=multiple, seed=seed)
    assert shrunk.error <= 1e-4


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("cumsum", lambda m, x: m.fc(head(torch.cumsum(m.a(x), 1)))),
        ("bmm", lambda m, x: m.fc(head((f := m.a(x).flatten(2)).bmm(f.transpose(1, 2)).bmm(f).view(-1, 16, 8, 8)))),
        ("softmax", lambda m, x: m.fc(head(torch.softmax(m.a(x), 1)))),
        ("native_layer_norm", lambda m, x: m.fc(nnf.layer_norm(head(m.a(x)), [16]))),
        ("einsum", lambda m, x: m.fc(torch.einsum("nchw,ndhw->nc", m.a(x), m.a(x)))),
    ],
)
def test_what_has_no_exact_rule_stays_and_is_named(name: str, body: Body) -> None:
    model = norms_as_trained(Net(lambda m, x: body(m, m.z(x)), z=conv(3, 8), a=conv(8, 16), fc=nn.Linear(16, 4)))
    groups = {g.name: g for g in analyse(model, example_input(3, (8, 8))).groups}
    known = {"einsum": "bmm"}.get(name, name)
    assert any(known in reason for reason in groups["a"].reasons)
    assert groups["z"].prunable


@pytest.mark.parametrize("first", [True, False])
def test_a_layer_that_computes_its_weights_keeps_its_channels_and_is_named(first: bool) -> None:
    def binary(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return nnf.conv2d(x, m.a.weight.sign() * 0.1, padding=1)

    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.fc(head(m.n(binary(m, x if first else m.z(x)))))

    layers = {"z": conv(3, 8), "a": conv(3 if first else 8, 16), "n": nn.BatchNorm2d(16), "fc": nn.Linear(16, 4)}
    groups = {g.name: g for g in analyse(norms_as_trained(Net(body, **layers)), example_input(3, (8, 8))).groups}
    assert groups["n"].reasons == ("convolution (a) computes its weights",)
    assert first or groups["z"].reasons == groups["n"].reasons


def test_a_write_through_a_view_is_named() -> None:
    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = m.a(x)
        y[:, :4] += 1.0
        return m.fc(head(y))

    reasons = [
        g.reasons
        for g in analyse(Net(body, a=conv(3, 16), fc=nn.Linear(16, 4)), example_input(3, (8, 8))).groups
        if g.name == "a"
    ]
    assert "write through a view" in "; ".join(reasons[0])


def test_splits_with_numbers_in_the_code_keep_their_channels() -> None:
    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        left, right = torch.split(m.a(m.z(x)), 8, 1)
        return m.fc(head(m.b(left) + right))

    shrunk = cut(Net(body, z=conv(3, 8), a=conv(8, 16), b=conv(8, 8), fc=nn.Linear(8, 4)))
    assert kept(shrunk)["z"] == (8, 4)
    assert "split" in next(g.reason for g in shrunk.groups if g.name == "a")
    assert shrunk.notes


@pytest.mark.parametrize("shape", [(1, 16, 1), (1, 4, 4), (1, 1, 8)])
def test_an_only_channel_is_flattened(shape: tuple[int, int, int]) -> None:
    features = shape[1] * shape[2]
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 12), nn.ReLU(), nn.Linear(12, 5))
    groups = {g.name: g for g in analyse(model, torch.randn(2, *shape)).groups}
    assert groups["1"].prunable and groups["1"].channels == 12
    squeezed = Net(lambda m, x: m.fc(x.view(2, 16)), fc=nn.Linear(16, 4))
    assert not any(g.prunable for g in analyse(squeezed, torch.randn(2, 16, 1, 1)[:, :, 0, 0].view(2, 1, 16, 1)).groups)


def test_a_branch_on_values_cannot_be_traced() -> None:
    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.fc(head(m.a(x))) if float(x.sum()) > 0 else m.fc(head(x))

    with pytest.raises(UnsupportedError, match="cannot be traced"):
        trace(Net(body, a=conv(3, 3), fc=nn.Linear(3, 4)), example_input(3, (8, 8)))


def test_tracing_leaves_the_parameters_of_shared_modules_as_they_were() -> None:
    shared = conv(8, 8)
    model = Net(lambda m, x: m.fc(head(m.s(m.t(m.a(x))))), a=conv(3, 8), s=shared, t=shared, fc=nn.Linear(8, 4))
    before = [id(p) for p in model.parameters()]
    trace(model, example_input(3, (8, 8)))
    assert before == [id(p) for p in model.parameters()]
    assert all(p.device.type == "cpu" for p in model.parameters())
