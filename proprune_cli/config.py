"""Run files: YAML → frozen options. The only module that knows pydantic.

A run file has the sections ``prune`` and ``compile``; their keys are the fields of `PruneOptions` and `CompileOptions`.
The whole file is validated before anything runs, every fault is listed at once, and options of the command line
override it. Paths in it are relative to the directory the command runs in.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from proprune_cli.compile.options import CompileOptions
from proprune_cli.errors import InputError, ProPruneError, UsageError
from proprune_cli.files.yaml_text import read_yaml
from proprune_cli.prune import Budget, PruneOptions, TrainOptions

Values = dict[str, Any]
"""Options that were given, by field name; those of `TrainOptions` as ``train.<field>``."""


@dataclass(frozen=True)
class RunFile:
    """A validated run file: only what it sets."""

    prune: Values
    compile: Values


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _model(name: str, source: type[Any], replaced: Mapping[str, Any]) -> type[BaseModel]:
    """A pydantic model with the fields of a dataclass, all optional."""
    hints = get_type_hints(source)
    declared = {f.name: (replaced.get(f.name, hints[f.name]), None) for f in dataclasses.fields(source)}
    return cast("type[BaseModel]", create_model(name, __base__=_Section, **cast("Any", declared)))


_TRAIN = _model("train", TrainOptions, {})
_PRUNE = _model("prune", PruneOptions, {"budget": str, "train": _TRAIN})
_CALL = _model("call", PruneOptions, {"train": _TRAIN})
_COMPILE = _model("compile", CompileOptions, {})
_FILE = cast(
    "type[BaseModel]",
    create_model(
        "run file", __base__=_Section, version=(Literal[1], ...), prune=(_PRUNE, None), compile=(_COMPILE, None)
    ),
)


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, but a key given twice is a fault and not a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [cast("Hashable", self.construct_object(key, deep=True)) for key, _ in node.value]
        if twice := {str(k) for k in keys if keys.count(k) > 1}:
            raise yaml.constructor.ConstructorError(
                problem=f"key given twice: {', '.join(sorted(twice))}", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


def load_run_file(path: Path) -> RunFile:
    """Read and validate a run file.

    Raises:
        InputError: unreadable, not YAML, or with faults; the message lists every fault.
    """
    remedy = "compare it with configs/runs/digits.yaml"
    try:
        raw: object = read_yaml(path, _UniqueKeys)
    except FileNotFoundError as error:
        raise InputError("no such run file", where=str(path), remedy="check the path given to --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the run file: {error}", where=str(path), remedy=remedy) from error
    except yaml.YAMLError as error:
        raise InputError(f"the run file is not YAML: {_one_line(error)}", where=str(path), remedy=remedy) from error
    try:
        content = json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the run file holds a value of no use here: {error}", where=str(path), remedy=remedy
        ) from error
    try:
        parsed = _FILE.model_validate_json(content)
    except ValidationError as error:
        raise _listed([_readable(cast("Any", fault)) for fault in error.errors()], path, remedy) from error
    given = {name: _given(getattr(parsed, name)) for name in ("prune", "compile")}
    faults = _domain_faults(given["prune"])
    if faults:
        raise _listed(faults, path, remedy)
    return RunFile(**given)


def prune_options(path: Path | None, given: Values) -> PruneOptions:
    """Options of ``prune`` from a run file and the command line; what the command line gives wins.

    Args:
        given: options of the command line by field name; None means not given.

    Raises:
        InputError: the run file has faults.
        UsageError: neither names a model or a data set, or an option is out of range.
    """
    values = load_run_file(path).prune if path is not None else {}
    values |= {name: value for name, value in given.items() if value is not None}
    for name in ("model", "data"):
        if name not in values:
            raise UsageError(
                f"--{name} is missing", where="proprune prune", remedy=f"give --{name}, or set it in --config"
            )
    return _build_prune(values)


def compile_options(path: Path | None, given: Values) -> CompileOptions:
    """As `prune_options`, for ``compile``."""
    values = load_run_file(path).compile if path is not None else {}
    return CompileOptions(**{**values, **{name: value for name, value in given.items() if value is not None}})


def called_options(given: Values) -> PruneOptions:
    """As `prune_options`, of keyword arguments, whose types nobody has checked; ``train`` is a dictionary of its own.

    Raises:
        UsageError: an option is unknown, of another type, or out of range; the message lists every fault of type.
    """
    values = {name: _plain(value) for name, value in given.items() if value is not None}
    for name, made in (("budget", Budget.parse), ("data_dir", Path), ("weights", Path)):
        if isinstance(values.get(name), str):
            values[name] = made(values[name])
    _check_types(_CALL, values)
    inner: Values = values.pop("train", None) or {}
    return prune_options(None, values | {f"train.{name}": value for name, value in inner.items()})


def called_compile_options(given: Values) -> CompileOptions:
    """As `called_options`, for ``compile``."""
    _check_types(_COMPILE, given)
    return compile_options(None, given)


def _check_types(model: type[BaseModel], given: Values) -> None:
    try:
        model.model_validate(given)
    except ValidationError as error:
        faults = [_readable(cast("Any", fault)) for fault in error.errors()]
        raise UsageError(
            "; ".join(sorted(faults)), where="keyword arguments", remedy="docs/run-files.md has every option"
        ) from error


def _plain(value: Any) -> Any:
    """What callers write for a path, several names or a number, in the type of its option."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in cast("Values", value).items()}
    if isinstance(value, np.generic):
        return value.item()
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def _given(section: BaseModel | None) -> Values:
    """Fields that the file sets to something, those of the inner section with a dotted name."""
    if section is None:
        return {}
    values: Values = {}
    for name in section.model_fields_set:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            values |= {f"{name}.{inner}": v for inner, v in _given(value).items()}
        elif value is not None:
            values[name] = value
    return values


def _build_prune(values: Values) -> PruneOptions:
    train = {name.partition(".")[2]: v for name, v in values.items() if name.startswith("train.")}
    rest = {name: v for name, v in values.items() if "." not in name}
    if rest.get("objective") is not None:
        rest.setdefault("method", "codesign")
    if isinstance(rest.get("budget"), str):
        rest["budget"] = Budget.parse(rest["budget"])
    return PruneOptions(**rest, train=TrainOptions(**train))


def _domain_faults(values: Values) -> list[str]:
    """Ranges are checked by the dataclasses, which stop at the first: try each value alone, to list them all."""
    needed = {"model": "lenet5", "data": "digits"}
    faults: list[str] = []
    for name, value in sorted(values.items()):
        try:
            _build_prune({**needed, name: value})
        except ProPruneError as error:
            faults.append(f"prune.{name}: {error.what}")
    return faults


def _shown(fault: Values) -> str:
    """What was given: values that a file can hold as they are written, of anything else its type."""
    value = fault["input"]
    return repr(value) if isinstance(value, str | int | float | dict | list | None) else type(value).__name__


_MESSAGES: dict[str, Callable[[Values], str]] = {
    "extra_forbidden": lambda _: "unknown key",
    "missing": lambda _: "is missing",
    **dict.fromkeys(("model_type", "model_attributes_type"), lambda _: "must be a section with keys"),
    "tuple_type": lambda fault: f"must be several names, not {_shown(fault)}",
    **dict.fromkeys(("path_type", "is_instance_of"), lambda fault: f"must be a path, not {_shown(fault)}"),
    "dataclass_exact_type": lambda fault: f"must be text such as ops=50%, not {_shown(fault)}",
    **dict.fromkeys(("int_type", "int_from_float"), lambda fault: f"must be a whole number, not {_shown(fault)}"),
    "float_type": lambda fault: f"must be a number, not {_shown(fault)}",
    "string_type": lambda fault: f"must be text, not {_shown(fault)}",
    "bool_type": lambda fault: f"must be true or false, not {_shown(fault)}",
    "literal_error": lambda fault: f"must be {fault['ctx']['expected']}, not {_shown(fault)}",
}


def _readable(fault: Values) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    say = _MESSAGES.get(fault["type"])
    message = say(fault) if say else f"{str(fault['msg'])[:1].lower()}{str(fault['msg'])[1:]}, not {_shown(fault)}"
    return f"{place}: {message}"


def _listed(faults: list[str], path: Path, remedy: str) -> InputError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InputError(
        f"the run file has {count}\n" + "\n".join(f"  {fault}" for fault in sorted(faults)),
        where=str(path),
        remedy=remedy,
    )


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} in line {mark.line + 1}" if mark is not None else str(problem)
