"""Runs a user's module and leaves no trace on it: attributes, buffers, caches, modes, hooks and random numbers go back.

A forward pass may do anything: cache a grid, count its calls, keep its last features, draw noise. What it can write to
is what can be reached from the module: its attributes, what they hold, the closures of its hooks, its classes, and the
globals and caches (``functools.lru_cache``) that its methods name. All of that is put back, by identity and by value,
without a copy of the module, which not every module allows.
"""

from __future__ import annotations

import functools
import random
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

_OURS = "proprune_cli"
_KNOWN = sys.stdlib_module_names | {"torch", "numpy", _OURS}
"""Packages whose functions and classes keep nothing of a network."""
_ATOMS = (type(None), bool, int, float, complex, str, bytes, types.ModuleType, torch.dtype, torch.device, torch.Size)
_CACHE: type = type(functools.lru_cache(lambda: None))
_LIMIT = 200_000
"""Objects that are looked at; a module with more has caches of its own elsewhere."""


@contextmanager
def restored(*models: nn.Module, parameters: bool = True) -> Generator[None, None, None]:
    """Whatever runs inside, ``models`` and the random number generators are afterwards what they were.

    Args:
        parameters: also the values of parameters; False where others stand in for them, or ``models`` are our copies.
    """
    passed: set[int] = set()
    if not parameters:
        passed = {id(p) for m in models for p in m.parameters()}
    generators = _generators()
    snapshot = _Snapshot(passed)
    snapshot.take(models)
    gradients = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        snapshot.put_back()
        generators()


def _generators() -> Callable[[], None]:
    """What puts torch's, Python's and NumPy's generators back."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def put_back() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)

    return put_back


class _Snapshot:
    """What was reached from a module, and how each piece is put back."""

    def __init__(self, passed: set[int]) -> None:
        self._passed = passed
        self._undo: list[Callable[[], None]] = []
        self._seen: dict[int, object] = {}  # the objects themselves, so that no id is used twice

    def take(self, values: tuple[object, ...]) -> None:
        """Remember everything that can be reached from ``values``."""
        waiting = deque(values)
        while waiting and len(self._seen) < _LIMIT:
            value: Any = waiting.popleft()
            if isinstance(value, _ATOMS) or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            waiting.extend(self._parts(value))

    def put_back(self) -> None:
        """Make everything what it was."""
        for undo in reversed(self._undo):
            undo()

    def _parts(self, value: Any) -> Iterator[object]:
        """Remember ``value``'s own state, and give what it holds."""
        if isinstance(value, torch.Tensor):
            yield from self._tensor(value)
        elif isinstance(value, dict):
            yield from self._dict(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, (list, deque)):
            yield from self._sequence(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, set):
            yield from self._set(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, (tuple, frozenset)):
            yield from value
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial, _CACHE)):
            yield from self._function(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, (staticmethod, classmethod)):
            yield value.__func__  # pyright: ignore[reportUnknownMemberType]
        elif isinstance(value, property):
            yield from (value.fget, value.fset)
        elif isinstance(value, type):
            yield from self._class(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, np.ndarray):
            self._array(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, torch.Generator):
            self._undo.append(functools.partial(_set_state, value, value.get_state()))
        elif isinstance(value, random.Random):
            self._undo.append(functools.partial(value.setstate, value.getstate()))
        elif isinstance(value, np.random.Generator):
            self._undo.append(functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state))
        elif isinstance(value, nn.Module) or not _known(type(value)) or isinstance(value, types.SimpleNamespace):
            yield from self._object(value)

    def _tensor(self, tensor: torch.Tensor) -> Iterator[object]:
        if isinstance(tensor, FakeTensor):
            return
        needs, gradient, data = tensor.requires_grad, tensor.grad if tensor.is_leaf else None, tensor.data
        valued = id(tensor) not in self._passed and tensor.layout is torch.strided and not tensor.is_meta
        values = data.clone() if valued else None

        def undo() -> None:
            if tensor.data_ptr() != data.data_ptr() or tensor.shape != data.shape:
                tensor.data = data
            if values is not None and not torch.equal(data, values):
                data.copy_(values)  # through .data: no version of autograd's counts it
            if tensor.is_leaf:
                if tensor.requires_grad != needs:
                    tensor.requires_grad_(needs)
                if tensor.grad is not gradient:
                    tensor.grad = gradient

        self._undo.append(undo)
        if gradient is not None:
            yield gradient

    def _dict(self, content: dict[object, object]) -> Iterator[object]:
        items = list(content.items())

        def undo() -> None:
            now = list(content.items())
            if len(now) != len(items) or any(a is not c or b is not d for (a, b), (c, d) in zip(now, items)):  # noqa: B905
                content.clear()
                content.update(items)

        self._undo.append(undo)
        for _, value in items:
            yield value

    def _sequence(self, content: list[object] | deque[object]) -> Iterator[object]:
        items = list(content)

        def undo() -> None:
            if len(content) != len(items) or any(a is not b for a, b in zip(content, items)):  # noqa: B905
                content.clear()
                content.extend(items)

        self._undo.append(undo)
        yield from items

    def _set(self, content: set[object]) -> Iterator[object]:
        items = set(content)

        def undo() -> None:
            if content != items:
                content.clear()
                content.update(items)

        self._undo.append(undo)
        yield from items

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        values = array.copy()

        def undo() -> None:
            if array.flags.writeable and array.tobytes() != values.tobytes():
                array[...] = values

        if not array.dtype.hasobject:
            self._undo.append(undo)

    def _function(self, function: Any) -> Iterator[object]:
        if isinstance(function, types.MethodType):
            yield from (function.__self__, function.__func__)
            return
        if isinstance(function, functools.partial):
            partial: functools.partial[Any] = function
            yield from (partial.func, partial.args, partial.keywords)
            return
        if isinstance(function, _CACHE):
            cached: Any = function
            before = cached.cache_info()
            self._undo.append(lambda: None if cached.cache_info().misses == before.misses else cached.cache_clear())
            yield cached.__wrapped__
            return
        package = str(function.__module__).partition(".")[0]
        if package == _OURS:
            return  # a hook of ours watches the network, and keeps what it saw
        if package in _KNOWN:
            yield from self._cells(function)
            return
        yield from (function.__dict__, function.__defaults__, function.__kwdefaults__)
        yield from self._cells(function)
        names = set(_names(function.__code__))
        space: dict[str, object] = function.__globals__
        for name in names & space.keys():
            value = space[name]
            self._undo.append(functools.partial(_reset, space, name, value))
            yield value

    def _cells(self, function: types.FunctionType) -> Iterator[object]:
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # not filled yet
            self._undo.append(functools.partial(setattr, cell, "cell_contents", value))
            yield value

    def _class(self, found: type) -> Iterator[object]:
        for kind in found.__mro__:
            if _known(kind):
                continue
            attributes = {name: value for name, value in vars(kind).items() if not name.startswith("__")}

            def undo(kind: type = kind, attributes: dict[str, object] = attributes) -> None:
                for name in [n for n in vars(kind) if not n.startswith("__") and n not in attributes]:
                    delattr(kind, name)
                for name, value in attributes.items():
                    if vars(kind).get(name) is not value:
                        setattr(kind, name, value)

            self._undo.append(undo)
            yield from attributes.values()
            yield vars(kind).get("__call__")

    def _object(self, value: Any) -> Iterator[object]:
        if isinstance(value, (weakref.ref, types.CodeType)):
            return
        for name in (n for kind in type(value).__mro__ for n in _slots(kind)):
            if hasattr(value, name):
                part = getattr(value, name)
                self._undo.append(functools.partial(object.__setattr__, value, name, part))
                yield part
        if isinstance(getattr(value, "__dict__", None), dict):
            yield vars(value)
        yield type(value)


def _known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _KNOWN


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return () if _known(kind) else tuple(n for n in names if n not in ("__dict__", "__weakref__"))


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that a function's code and the functions inside it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _set_state(generator: torch.Generator, state: torch.Tensor) -> None:
    generator.set_state(state)


def _reset(space: dict[str, object], name: str, value: object) -> None:
    if space.get(name) is not value:
        space[name] = value
