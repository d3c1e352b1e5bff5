"""What runs on the board must run there: an old Python, numpy, and nothing else of this package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from proprune_cli.board import agent

FILES = sorted(Path(agent.__file__).parent.glob("*.py"))
ALLOWED = {"__future__", "dataclasses", "time", "typing", "numpy", "pynq"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_agent_files_parse_under_python_3_8_and_import_only_what_a_board_has(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        else:
            continue
        assert {n.split(".")[0] for n in names} <= ALLOWED


def test_the_driver_loads_alone_without_the_package(tmp_path: Path) -> None:
    source = Path(agent.__file__).with_name("driver.py").read_text(encoding="utf-8")
    (tmp_path / "driver.py").write_text(source, encoding="utf-8")
    code = "import sys, driver; assert not [m for m in sys.modules if m.startswith('proprune')]; print(driver.START)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "1"
