"""The golden fixture: a missing file and a changed text both fail, and say how to accept the text."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.conftest


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.config.getoption("--update-golden"):
        pytest.skip("golden files are being written")
    monkeypatch.setattr(tests.conftest, "GOLDEN", tmp_path)
    return tmp_path


def test_a_missing_golden_fails_and_says_how_to_write_it(golden, elsewhere: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no golden file.*--update-golden 'tests/cli/test_cli_golden.py::"):
        golden("nothing.txt", "text\n")
    assert list(elsewhere.iterdir()) == []


def test_a_changed_text_fails_and_shows_the_difference(golden, elsewhere: Path) -> None:
    (elsewhere / "some.txt").write_text("one\ntwo\n")
    golden("some.txt", "one\ntwo\n")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)-two\n\+three"):
        golden("some.txt", "one\nthree\n")


def test_every_golden_error_belongs_to_a_case() -> None:
    from tests.cli.test_cli_errors import CASES

    files = {path.stem for path in (Path(tests.conftest.GOLDEN) / "errors").glob("*.txt")}
    assert files == set(CASES)
