"""Shell completion: the names that may stand after an option, from their registries, and the scripts that ask for them.

A shell runs ``proprune`` with ``_PROPRUNE_COMPLETE`` in its environment at each press of a key, so that nothing heavy
may be imported here.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from proprune_cli.errors import UsageError
from proprune_cli.files.write import write_whole

VARIABLE = "_PROPRUNE_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

BASH = """_proprune_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" current found IFS=$' \\t\\n'
    local -a given
    # Words are apart by blanks alone: bash takes emulated:pynq-z2 and ops=50% for three words each.
    read -ra given <<< "$line"
    [[ $line == *[[:blank:]] ]] && given+=("")
    current="${given[${#given[@]} - 1]}"
    found=$(COMP_WORDS="$line" COMP_CWORD=$((${#given[@]} - 1)) _PROPRUNE_COMPLETE=complete_bash "$1" 2>/dev/null)
    COMPREPLY=()
    [[ -n $found ]] && mapfile -t COMPREPLY <<< "$found"
    # What is before the last colon or equals sign is on the line already.
    [[ $current == --*=* ]] && current="${current#*=}"
    [[ $current == *[:=]* ]] && COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[:=]}"}"}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace
    return 0
}
complete -o default -F _proprune_completion proprune
"""


def _models() -> Iterable[str]:
    from proprune_cli.nets.zoo_names import ZOO_FILES

    return ZOO_FILES


def _data() -> Iterable[str]:
    from proprune_cli.data.load import SOURCES

    return SOURCES


def _methods() -> Iterable[str]:
    from proprune_cli.prune.method_names import METHOD_NAMES

    return METHOD_NAMES


def _budgets() -> Iterable[str]:
    from typing import get_args

    from proprune_cli.prune.options import BudgetKind

    return [f"{kind}=" for kind in get_args(BudgetKind)]


def _boards() -> Iterable[str]:
    from proprune_cli.resources import config_files

    return config_files("boards")


def _arrays() -> Iterable[str]:
    from proprune_cli.resources import config_files

    return config_files("arrays")


def _places() -> Iterable[str]:
    from proprune_cli.board.registry import PLACES

    return [name for place in PLACES for name in place.names]


def _networks() -> Iterable[str]:
    from proprune_cli.prune.result import NETWORK_FILES

    return NETWORK_FILES


_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "models": _models,
    "data": _data,
    "methods": _methods,
    "budgets": _budgets,
    "boards": _boards,
    "arrays": _arrays,
    "places": _places,
    "networks": _networks,
    "shells": lambda: SHELLS,
}


def offer(names: str) -> Callable[[str], list[str]]:
    """What an option completes to: the registry ``names``, by a word's beginning."""
    registry = _NAMES[names]

    def complete(incomplete: str) -> list[str]:
        return [name for name in registry() if name.startswith(incomplete)]

    return complete


def offer_choices(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    """As `offer`, of an option that takes one of a few words."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def complete(app: Any) -> int:
    """Answer the shell that set ``_PROPRUNE_COMPLETE``; the exit code."""
    from typer.completion import completion_init  # pyright: ignore[reportPrivateImportUsage]

    completion_init()
    try:
        app(args=[], prog_name="proprune")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - a person in the midst of a line reads no message; the command itself will tell it
        if os.environ.get("PROPRUNE_DEBUG"):
            traceback.print_exc()
    return 1


def script(shell: str) -> str:
    """The text that makes ``shell`` complete ``proprune``.

    Raises:
        UsageError: no such shell is known.
    """
    _require(shell, "--show-completion")
    if shell == "bash":
        return BASH
    from typer.completion import get_completion_script  # pyright: ignore[reportPrivateImportUsage]

    return get_completion_script(prog_name="proprune", complete_var=VARIABLE, shell=shell) + "\n"


def install(shell: str) -> Path:
    """Write the script to the user's home and have the shell read it when it starts; the file.

    Raises:
        InputError: it cannot be written.
        UsageError: no such shell is known.
    """
    _require(shell, "--install-completion")
    from typer.completion import install  # pyright: ignore[reportPrivateImportUsage]

    _, path = install(shell=shell, prog_name="proprune", complete_var=VARIABLE)
    if shell == "bash":
        write_whole(path, BASH.encode())
    return path


def _require(shell: str, option: str) -> None:
    if shell not in SHELLS:
        raise UsageError(f"{shell!r} is no shell known here", where=option, remedy=f"choose one of {', '.join(SHELLS)}")
