"""What a user reads when a file is wrong: printable, counted, with the line and the column."""

from pathlib import Path

import pytest

from abawkit.errors import (
    SHOWN_PROBLEMS,
    AbawkitError,
    ConfigError,
    DataError,
    Problem,
    ProblemsError,
    format_count,
    printable,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Zoë 日本", "Zoë 日本"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\udc80", r"\udc80"),
    ],
)
def test_only_what_could_move_hide_or_turn_text_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).isprintable()


def test_a_problem_names_path_line_and_column() -> None:
    problem = Problem(7, "arousal", "got '1.7', expected a number in -1..1")
    assert problem.text(Path("a.txt")) == "a.txt:7: column 'arousal': got '1.7', expected a number in -1..1"


def test_a_problem_of_the_whole_file_has_neither_line_nor_column() -> None:
    assert Problem(0, "", "is odd").text(Path("a.txt")) == "a.txt: is odd"


def test_a_problem_escapes_what_came_out_of_the_file_and_its_name() -> None:
    assert Problem(1, "", "got '\x1b[2J'").text(Path("\u202e.txt")) == r"\u202e.txt:1: got '\x1b[2J'"


def test_twenty_problems_are_shown_in_the_order_of_lines_and_the_rest_is_counted() -> None:
    problems = [Problem(line, "", "bad") for line in range(1_030, 0, -1)]
    lines = str(ProblemsError(Path("a.txt"), problems, "mend it")).split("\n")
    assert lines[:SHOWN_PROBLEMS] == [f"a.txt:{line}: bad" for line in range(1, 21)]
    assert lines[SHOWN_PROBLEMS].startswith("... and 1,010 more problems in a.txt")
    assert lines[SHOWN_PROBLEMS + 1 :] == ["mend it"]


def test_twenty_problems_need_no_count() -> None:
    error = ProblemsError(Path("a.txt"), [Problem(line, "", "bad") for line in range(1, 21)], "mend it")
    assert len(str(error).split("\n")) == 21
    assert "more" not in str(error)


def test_every_problem_is_kept_though_few_are_shown() -> None:
    problems = [Problem(2, "", "b"), Problem(1, "", "a")] * 50
    error = ProblemsError(Path("a.txt"), problems, "mend it")
    assert error.problems == sorted(problems)


@pytest.mark.parametrize(("kind", "code"), [(AbawkitError, 1), (ConfigError, 2), (DataError, 3), (ProblemsError, 3)])
def test_exit_codes(kind: type[AbawkitError], code: int) -> None:
    assert kind.exit_code == code


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2, "row", "2 rows"),
        (51_159, "row", "51,159 rows"),
        (1, "training row", "1 training row"),
        (2, "training row", "2 training rows"),
    ],
)
def test_what_is_counted_is_plural_unless_it_is_one(number: int, noun: str, expected: str) -> None:
    assert format_count(number, noun) == expected


def test_a_plural_that_is_not_the_singular_and_an_s_is_given() -> None:
    assert format_count(1, "process", "processes") == "1 process"
    assert format_count(2, "process", "processes") == "2 processes"
