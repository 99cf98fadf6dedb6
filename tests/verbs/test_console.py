"""Output of commands: only the answer on standard output, everything else on standard error, errors in one line."""

import json

import pytest
import typer

from lib.verbs.console import format_answer, print_answer, progress_bar


def test_output_of_libraries_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> dict[str, int]:
        print("output of a library")
        return {"cases": 3}

    print_answer(work, as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"cases": 3} and "output of a library" in captured.err


@pytest.mark.parametrize("error", [ValueError("no\n such  task"), OSError("no\n such  task")])
def test_a_failure_prints_one_line_and_exits_with_status_1(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> dict[str, int]:
        raise error

    with pytest.raises(typer.Exit) as exited:
        print_answer(work, as_json=False)
    captured = capsys.readouterr()
    assert exited.value.exit_code == 1 and not captured.out
    assert captured.err.splitlines()[-1] == "error: no such task"


def test_an_answer_is_formatted_as_indented_lines() -> None:
    text = format_answer({"dice": 0.12345, "jobs": [{"id": "a", "by": ""}], "none": None})
    assert text == "dice: 0.123\njobs:\n  - id: a\n    by: -\nnone: -"


def test_a_progress_bar_is_drawn_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    advance = progress_bar("cases")
    for done in range(1, 4):
        advance(done, 3)
    assert "cases" in capsys.readouterr().err
