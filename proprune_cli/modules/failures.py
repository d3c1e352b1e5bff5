"""What a user's module raised: which error, in which module, at which line of whose file."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch
from torch import nn

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent.parent)


def first_line(error: BaseException) -> str:
    """What an error says first, cut to a line of a message; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def told(error: BaseException, model: nn.Module) -> str:
    """What a forward pass of ``model`` raised, and where, in one line.

    ``AssertionError in stem (net.py, line 12: assert x.shape[1] == 16)``. Nothing of it is guessed: the module is the
    innermost whose code was running, the line the last outside torch.
    """
    said = first_line(error)
    if said.startswith("The following operation failed in the TorchScript"):  # and at the end, what it was
        said = [line.strip() for line in str(error).splitlines() if line.strip()][-1].rstrip(": ")[:300]
    name = type(error).__name__
    if type(error) not in (RuntimeError, ValueError) and not isinstance(error, torch.jit.Error) and said != name:
        said = f"{name}: {said}"
    module, line = _place(error, model)
    where = f" in {module}" if module else ""
    return f"{said}{where}{f' ({line})' if line else ''}"


def _place(error: BaseException, model: nn.Module) -> tuple[str, str]:
    """Qualified name of the innermost module that was running, and the last line of code outside torch and here."""
    names = {id(part): name for name, part in model.named_modules()}
    module = line = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        running = frame.f_locals.get("self")
        if isinstance(running, nn.Module) and names.get(id(running)):
            module = names[id(running)]
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _OURS, "<")):
            text = traceback.FrameSummary(file, number, frame.f_code.co_name).line or frame.f_code.co_name
            line = f"{Path(file).name}, line {number}: {text.strip()[:120]}"
    return module, line
