"""Every kind of bad input, a function each; the test finds a new one by itself and asks for its golden file."""

from tests.cli.error_cases import artifacts, files, models, runs
from tests.cli.error_cases.registry import CASES

__all__ = ["CASES", "artifacts", "files", "models", "runs"]
