"""Whether code out of a file runs: an audit hook that sees what the interpreter is asked to do, and a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

SPEC = "subprocess:getoutput?cmd=touch {file}"
MODULE = "fuzz_canary_module"

_runs = frozenset({"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"})
_COMPILERS = ("g++", "c++", "clang++", "ldconfig", "lscpu", "uname")


class Canary:
    """Notes what ran since it was asked last.

    Args:
        folder: where the file would appear; must be the working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "canary"
        self._seen: list[str] = []
        sys.addaudithook(self._hook)

    @property
    def planted(self) -> tuple[str, ...]:
        """Texts that run something where somebody imports and calls what they name."""
        command = SPEC.format(file=self.file)
        return (command, f"{MODULE}:network", f"os:system?command=touch {self.file}", f"data:{MODULE}", "digits")

    def sung(self) -> list[str]:
        """What ran since the last call."""
        seen, self._seen = self._seen, []
        if self.file.exists():
            self.file.unlink()
            seen.append("the canary's file was made")
        return seen

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            self._seen.append(f"pickle: {arguments[0]}.{arguments[1]}")
        elif event == "import" and arguments and arguments[0] == MODULE:
            self._seen.append("import of a module that a file names")
        elif event in _runs:
            text = " ".join(map(str, arguments))
            command = arguments[0] if arguments and isinstance(arguments[0], str | os.PathLike) else ""
            if Path(command).name not in _COMPILERS or "canary" in text:
                self._seen.append(f"{event}: {text[:200]}")
