"""Whether an artifact may run on the engine that this installation knows."""

from __future__ import annotations

from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.check import check_program, work_faults
from proprune_cli.artifact.package import Artifact
from proprune_cli.errors import BoardError, InputError


def check_contract(artifact: Artifact, where: str) -> Array:
    """The array the artifact was compiled for, after its contract digest was compared and its program was checked.

    Args:
        where: the artifact's file name, for messages.

    Raises:
        BoardError: this installation has no such array, or its contract is another one.
        InputError: the program may not run, see `accel.check`, or does more than the plan says.
    """
    program = artifact.program
    if program.array not in array_names():
        raise BoardError(
            f"the artifact is for the array {program.array!r}, which is not known here",
            where=where,
            remedy=f"compile the network again with --array, one of {', '.join(array_names())}",
        )
    array = load_array(program.array)
    if array.digest != program.digest:
        raise BoardError(
            f"the artifact speaks another contract than this engine: it was compiled for digest "
            f"{program.digest[:16]}, array {array.name!r} here has {array.digest[:16]}",
            where=where,
            remedy=f"compile the network again with this version (the artifact is of proprune {artifact.tool})",
        )
    try:
        work = check_program(program, array)
    except InputError as error:
        raise InputError(error.what, where=f"{where}, {error.where}", remedy=error.remedy) from error
    for fault in work_faults(work, artifact.plan.layers):
        raise InputError(f"the artifact contradicts itself: {fault}", where=where, remedy="compile the network again")
    return array
