"""What looks at a user's module leaves it as it was: attributes, values, modes, hooks, caches, random numbers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.trace import trace
from proprune_cli.channels.zeroed import remove_zeroed
from proprune_cli.errors import ProPruneError
from proprune_cli.modules.copying import copied
from proprune_cli.modules.probe import at_another_size, check_runs, example_input, probes
from proprune_cli.nets.export import to_onnx
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_module, prune_network

GRIDS: dict[int, torch.Tensor] = {}
CALLS = 0


@functools.lru_cache(maxsize=4)
def remembered_grid(width: int) -> torch.Tensor:
    return torch.linspace(0.5, 1, width)


def global_grid(width: int) -> torch.Tensor:
    if width not in GRIDS:
        GRIDS[width] = torch.linspace(0.5, 1, width)
    return GRIDS[width]


class Memo:
    """An object of the user's that is no module."""

    __slots__ = ("last", "seen")

    def __init__(self) -> None:
        self.last: torch.Tensor | None = None
        self.seen: set[int] = set()


class Writer(nn.Module):
    """Two convolutions between which the forward pass writes to whatever ``how`` names."""

    shared: torch.Tensor | None = None

    def __init__(self, how: tuple[str, ...]) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3, padding=1)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(8, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.how = how
        self.grid: torch.Tensor | None = None
        self.kept: dict[str, Any] = {}
        self.recent: deque[torch.Tensor] = deque(maxlen=2)
        self.list: list[torch.Tensor] = []
        self.memo, self.count, self.history = Memo(), 0, np.zeros(3)
        self.plain = torch.zeros(3)
        self.generator = torch.Generator().manual_seed(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.n(self.a(x))
        for name in self.how:
            x = getattr(self, name)(x)
        return self.fc(self.b(torch.relu(x)).mean((2, 3)))

    def attribute(self, x: torch.Tensor) -> torch.Tensor:
        if self.grid is None or self.grid.shape[0] != x.shape[3]:
            self.grid = torch.linspace(0.5, 1, x.shape[3], device=x.device)
        return x * self.grid

    def features(self, x: torch.Tensor) -> torch.Tensor:
        self.kept["features"] = x
        self.recent.append(x)
        self.list.append(x)
        self.memo.last = x
        self.memo.seen.add(x.shape[3])
        return x

    def counts(self, x: torch.Tensor) -> torch.Tensor:
        global CALLS
        CALLS += 1
        self.count += 1
        self.history[0] += 1
        self.plain += 1
        self.calls += 1
        return x

    def buffer(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = x.mean()
        return x

    def class_attribute(self, x: torch.Tensor) -> torch.Tensor:
        if Writer.shared is None or Writer.shared.shape[0] != x.shape[3]:
            Writer.shared = torch.linspace(0.5, 1, x.shape[3], device=x.device)
        return x * Writer.shared

    def global_cache(self, x: torch.Tensor) -> torch.Tensor:
        return x * global_grid(x.shape[3])

    def function_cache(self, x: torch.Tensor) -> torch.Tensor:
        return x * remembered_grid(x.shape[3])

    def modes(self, x: torch.Tensor) -> torch.Tensor:
        self.n.train(False)
        self.drop.train(not self.drop.training)
        self.fc.weight.requires_grad_(False)
        return x

    def hooks(self, x: torch.Tensor) -> torch.Tensor:
        self.n.register_forward_hook(lambda _module, _inputs, output: output)
        return x

    def values(self, x: torch.Tensor) -> torch.Tensor:
        self.b.weight.data.clamp_(-0.05, 0.05)
        self.fc.bias.data = self.fc.bias.data * 0.5
        return x

    def noise(self, x: torch.Tensor) -> torch.Tensor:
        scale = random.random() + float(np.random.rand())  # noqa: NPY002
        return x + 0 * (torch.randn(1, 1, 1, 1) + torch.randn((1,), generator=self.generator) + scale).to(x.device)


HOWS = [
    "attribute", "features", "counts", "buffer", "class_attribute", "global_cache", "function_cache", "modes", "hooks",
    "values", "noise",
]  # fmt: skip


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().view(-1).numpy().tobytes()).hexdigest() + str(tensor.shape)


def state(value: Any) -> Any:
    """A value's contents, with the identity of every tensor; written without looking at `restored`."""
    if isinstance(value, torch.Tensor):
        grad = None if not value.is_leaf or value.grad is None else (id(value.grad), digest(value.grad))
        return id(value), value.device.type, type(value), digest(value), value.requires_grad, grad
    if isinstance(value, nn.Module):
        return type(value), {name: state(part) for name, part in vars(value).items()}
    if isinstance(value, dict):
        return [(name, state(part)) for name, part in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return [state(part) for part in value]
    if isinstance(value, Memo):
        return state(value.last), sorted(value.seen)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, torch.Generator):
        return digest(value.get_state())
    return value if isinstance(value, (int, str, float, set, type(None))) else id(value)


def world(model: nn.Module) -> Any:
    generators = digest(torch.get_rng_state()), random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    return state(model), state(GRIDS), CALLS, state(Writer.shared), generators


OPTIONS = PruneOptions("module", "-", method="l1", budget=Budget("ratio", 0.5), multiple=1)
X = example_input(3, (12, 12))
LOOKS: dict[str, Callable[[nn.Module], object]] = {
    "trace": lambda model: trace(model, X),
    "analyse": lambda model: analyse(model, X, residual="free"),
    "prune": lambda model: prune_network(model, 3, (12, 12), OPTIONS),
    "prune a module": lambda model: prune_module(model, (3, 12, 12), OPTIONS, None),
    "remove zeroed": lambda model: remove_zeroed(model, X),
    "check": lambda model: check_runs(model, X, "model"),
    "another size": lambda model: at_another_size(model, X),
}


# At another size a network's parameters are put back by whoever asks for it: it is asked of copies, too.
PAIRS = [(how, look) for how in HOWS for look in LOOKS if (how, look) != ("values", "another size")]


@pytest.mark.parametrize(("how", "look"), PAIRS)
def test_a_module_that_was_looked_at_is_what_it_was(how: str, look: str) -> None:
    check_untouched((how,), look, used=False)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.sampled_from(HOWS), max_size=5), st.sampled_from(["prune", "trace", "remove zeroed"]), st.booleans())
def test_so_it_is_with_several_writes_and_after_training(how: set[str], look: str, used: bool) -> None:
    check_untouched(tuple(sorted(how)), look, used)


def check_untouched(how: tuple[str, ...], look: str, used: bool) -> None:
    torch.manual_seed(1)
    model = Writer(how)
    model.a.register_forward_hook(lambda _module, _inputs, output: model.kept.update(hooked=output))
    model.b.eval()  # modes may differ from one part to the next
    if used:
        model(X).sum().backward()  # leaves gradients, and caches with a history
    before = world(model)
    with contextlib.suppress(ProPruneError):  # weights that are written to are computed, and pin what they make
        LOOKS[look](model)
    after = world(model)
    assert before == after
    with torch.no_grad():
        assert torch.isfinite(model(X)).all()  # no cache holds a tensor without values


@pytest.mark.parametrize("how", [h for h in HOWS if h not in ("values", "buffer")])
def test_what_writes_is_pruned_and_equals_the_network_with_zeros(how: str) -> None:
    """The oracle puts the pruned weights back to their places among zeros, and shares no code with pruning."""
    torch.manual_seed(2)
    model = Writer((how,)).eval()
    shrunk = prune_network(model, 3, (12, 12), OPTIONS)
    assert shrunk.model.a.out_channels == 8 and shrunk.model.b.out_channels == 4
    twin, small = Writer((how,)).eval(), shrunk.model.state_dict()
    for name, tensor in twin.state_dict().items():
        kept = [shrunk.cuts.get(name, {}).get(d, range(n)) for d, n in enumerate(tensor.shape)]
        tensor.zero_()
        tensor[np.ix_(*map(list, kept))] = small[name]
    for size in (12, 20):
        x = probes(3, (size, size), seed=3)
        with torch.no_grad():
            expected, found = twin(x), shrunk.model(x)
        assert float((expected - found).abs().max() / expected.abs().max()) < 1e-5


def test_an_exported_module_is_what_it_was() -> None:
    model = Writer(("attribute", "features")).eval()
    before = world(model)
    to_onnx(model, X)
    after = world(model)
    assert before == after


class Awkward(nn.Module):
    """Has what ``copy.deepcopy`` cannot copy, and functions that hold the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 4)
        self.b = nn.Conv2d(16, 16, 3, padding=1)
        self.lock, self.last = threading.Lock(), None
        self.middle = lambda x: self.b(torch.relu(x))
        self.b.register_forward_hook(lambda _module, _inputs, output: output * self.b.weight.shape[1] / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            self.last = y = self.middle(self.a(x))
            return self.fc(y.mean((2, 3)))


def test_a_module_that_cannot_be_copied_is_copied_all_the_same() -> None:
    torch.manual_seed(0)
    model = Awkward()
    model(X).sum().backward()
    made = copied(model)
    assert not {id(p) for p in made.parameters()} & {id(p) for p in model.parameters()}
    assert made.last is not model.last and torch.equal(made.last, model.last)
    with torch.no_grad():
        expected = model(X)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(made(X), expected)  # nothing in it runs on the original


def test_a_module_with_functions_of_its_own_is_pruned() -> None:
    torch.manual_seed(0)
    model = Awkward()
    model.b._forward_hooks.clear()
    shrunk = prune_network(model, 3, (12, 12), OPTIONS)
    assert shrunk.model.b.in_channels == 8 and shrunk.error < 1e-4
