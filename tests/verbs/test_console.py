"""How a command answers: its answer alone on standard output, everything else on standard error, one line of reason."""

import json

import pytest
import typer

from lib.verbs.console import progress, readable, tell


def test_libraries_print_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> dict[str, int]:
        print("a library speaks")
        return {"cases": 3}

    tell(work, as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out) == {"cases": 3} and "a library speaks" in told.err


@pytest.mark.parametrize("error", [ValueError("no\n such  task"), OSError("no\n such  task")])
def test_a_failure_is_one_line_and_a_status(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> dict[str, int]:
        raise error

    with pytest.raises(typer.Exit) as left:
        tell(work, as_json=False)
    told = capsys.readouterr()
    assert left.value.exit_code == 1 and not told.out and told.err.splitlines()[-1] == "error: no such task"


def test_answers_can_be_read() -> None:
    text = readable({"dice": 0.12345, "jobs": [{"id": "a", "by": ""}], "none": None})
    assert text == "dice: 0.123\njobs:\n  - id: a\n    by: -\nnone: -"


def test_progress_ends(capsys: pytest.CaptureFixture[str]) -> None:
    advance = progress("cases")
    for done in range(1, 4):
        advance(done, 3)
    assert "cases" in capsys.readouterr().err
