"""The page on the Python API runs as it stands, and importing the package costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-api.md"


def test_the_code_of_the_page_runs_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    assert "predicted by" in said and "error: " in said
    assert (tmp_path / "runs/latency/predicted.json").is_file()


def test_importing_the_package_imports_no_heavy_library() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "rich")
    code = f"import sys, proprune_cli; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_names_that_scripts_of_before_import_still_work() -> None:
    from proprune_cli.channels import surgery
    from proprune_cli.nets import export
    from proprune_cli.prune.export import to_onnx
    from proprune_cli.prune.surgery import shrink

    assert to_onnx is export.to_onnx and shrink is surgery.shrink


def test_the_package_knows_its_version_and_other_names_stay_unknown() -> None:
    from importlib import metadata

    import proprune_cli

    assert proprune_cli.__version__ == metadata.version("proprune")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = proprune_cli.no_such_name


def test_the_citation_agrees_with_the_project_file() -> None:
    import yaml

    root = PAGE.parents[1]
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    project = (root / "pyproject.toml").read_text(encoding="utf-8").split("[project]", 1)[1]
    for key, line in (
        ("title", 'name = "{}"'),
        ("version", 'version = "{}"'),
        ("license", 'license = {{ text = "{}" }}'),
    ):
        assert line.format(cited[key]) in project
