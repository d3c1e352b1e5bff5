"""Artifacts: one compiled network in one file, whole or refused."""

from proprune_cli.artifact.contract import check_contract
from proprune_cli.artifact.manifest import SCHEMA, Source
from proprune_cli.artifact.package import Artifact, Golden, load_artifact, unpack

__all__ = ["SCHEMA", "Artifact", "Golden", "Source", "check_contract", "load_artifact", "unpack"]
