"""Objects that the user names by import path: ``package.module:factory?depth=20``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from proprune_cli.errors import InputError
from proprune_cli.spec.parse import Spec, Value

CALL_ERRORS = (
    TypeError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    OSError,
    ImportError,
)
"""What a user's code raises when its arguments or tensors do not fit, or its files are not there."""


def refuse_stored(spec: object, where: str) -> None:
    """Refuse a specification out of a file that would import code which the user did not name.

    Args:
        spec: what the file says, such as ``package.module:name?key=value``. where: the file and the option.

    Raises:
        InputError: it is an import path.
    """
    name = str(spec).partition("?")[0]
    if ":" in name and not name.endswith((".onnx", ".npz")):
        raise InputError(
            f"the run would import code and call it: {name!r}",
            where=where,
            remedy="if you know where the run comes from, say so: trust=True, or --trust on the command line",
        )


def imported(spec: Spec, where: str) -> Callable[..., object]:
    """What ``package.module:name`` names, with the working directory on the import path.

    Raises:
        InputError: the module cannot be imported, or has no such callable.
    """
    module_name, _, attribute = spec.name.partition(":")
    with _working_directory_importable():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise InputError(
                f"{module_name!r} cannot be imported: {type(error).__name__}: {error}",
                where=where,
                remedy="run from the folder that holds the package, or install it in this environment",
            ) from error
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        public = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise InputError(
            f"{module_name!r} has no factory {attribute!r}",
            where=where,
            remedy="it has " + (", ".join(public[:12]) or "no callables"),
        )
    return found


def made(
    factory: Callable[..., object], positional: tuple[object, ...], arguments: dict[str, Value], where: str, noun: str
) -> object:
    """What the factory gives for these arguments.

    Args:
        noun: what it makes, for messages: "model".

    Raises:
        InputError: the arguments do not fit, or the factory fails.
    """
    try:
        inspect.signature(factory).bind(*positional, **arguments)
    except TypeError as error:
        names = [p.name for p in inspect.signature(factory).parameters.values()][len(positional) :]
        raise InputError(
            f"the {noun}'s arguments do not fit: {error}",
            where=where,
            remedy="it takes " + (", ".join(names) or "none"),
        ) from error
    except ValueError:
        pass  # a builtin without a signature; the call itself will tell
    try:
        with _working_directory_importable():
            return factory(*positional, **arguments)
    except CALL_ERRORS as error:
        raise InputError(
            f"the {noun} cannot be built: {type(error).__name__}: {error}",
            where=where,
            remedy="check the arguments after '?'",
        ) from error


def function_of(spec: Spec, where: str, noun: str) -> Callable[..., Any]:
    """A function of two arguments that ``spec`` names, or that the factory or class it names gives.

    What takes ``spec``'s arguments and nothing else is a factory (``torch.nn:SmoothL1Loss?beta=0.5``); what wants two
    more is the function (``torch.nn.functional:mse_loss``).

    Raises:
        InputError: there is none, or its arguments do not fit.
    """
    named = imported(spec, where)
    try:
        signature = inspect.signature(named)
    except ValueError:  # a builtin
        return partial(named, **spec.arguments)
    is_factory = isinstance(named, type) or _fits(signature, (), spec.arguments)
    if not is_factory and _fits(signature, (None, None), spec.arguments):
        return partial(named, **spec.arguments) if spec.arguments else named
    found = made(named, (), spec.arguments, where, noun)
    if not callable(found):
        raise InputError(
            f"the {noun}'s factory returned {type(found).__name__}, which cannot be called",
            where=where,
            remedy="name a function of outputs and targets, or a class or factory that gives one",
        )
    return found


def source_digest(spec: Spec) -> str:
    """SHA-256 of the file of the module that ``spec`` names, which has been imported; "" where it has no file."""
    file = getattr(sys.modules.get(spec.name.partition(":")[0]), "__file__", None)
    return "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _fits(signature: inspect.Signature, positional: tuple[None, ...], arguments: dict[str, Value]) -> bool:
    try:
        signature.bind(*positional, **arguments)
    except TypeError:
        return False
    return True


@contextmanager
def _working_directory_importable() -> Generator[None, None, None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
