"""The table: every row whole at 80 columns, and as Markdown."""

import numpy as np
import pytest

from abawkit.ablation.report import (
    NARROW_HEADINGS,
    Row,
    describe_difference,
    format_cells,
    format_markdown,
    format_narrow_cells,
)
from abawkit.ablation.run import DECISIONS, TITLES
from abawkit.ablation.statistics import SeedScores
from abawkit.cli._output import show_table
from abawkit.scoring.bootstrap import PARTS, Interval
from abawkit.scoring.score import PROTOCOLS


def row(name: str, title: str, *, base: bool = False, seeds: int = 3, fitted: bool = False) -> Row:
    each = np.array([[-0.101, 0.202, 0.303, 0.404]] * seeds) + np.arange(seeds)[:, None] / 100
    difference = {} if base else dict.fromkeys(PARTS, Interval(-0.0123, -0.1234, 0.0999))
    figures = {protocol: SeedScores(each, difference) for protocol in PROTOCOLS}
    return Row(name, title, figures, (1, 2, 3), fitted, (0.9,) if fitted else ())


def rows() -> list[Row]:
    named = {**TITLES, **{name: title for name, (title, _) in DECISIONS.items()}, "ensemble": "ensemble of 100"}
    return [row(name, title, base=name == "base") for name, title in named.items()]


def test_cells_are_means_deviation_and_difference() -> None:
    assert format_cells(row("x", "title"), "official") == [
        *("title", "3", "-0.091", "0.212", "0.313", "0.414", "0.010"),
        *("-0.012", "-0.123 +0.100 ~"),
    ]
    assert format_cells(row("base", "base", base=True), "strict")[-2:] == ["-", "-"]
    assert format_cells(row("x", "one", seeds=1), "official")[6] == "-"


def test_narrow_cells_lose_zeros_before_the_point_alone() -> None:
    assert format_narrow_cells(row("x", "0.5 kept"), "official") == [
        *("0.5 kept", "3", "-.091", ".212", ".313", ".414", ".010"),
        *("-.012", "-.123 +.100 ~"),
    ]
    figures = SeedScores(np.array([[0.5, 0.25, 0.255, 10.005]]), {})
    assert format_narrow_cells(Row("x", "x", {"official": figures}, (1,)), "official")[2:6] == [
        ".500",
        ".250",
        ".255",
        "10.005",
    ]


def test_a_difference_is_marked_where_its_interval_holds_none() -> None:
    assert describe_difference(Interval(0.02, 0.01, 0.03)) == ("+0.020", "+0.010 +0.030")
    assert describe_difference(Interval(0.02, -0.01, 0.03)) == ("+0.020", "-0.010 +0.030 ~")


def test_no_cell_is_broken_at_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_table("Ablation", NARROW_HEADINGS, [format_narrow_cells(one, "official") for one in rows()])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    whole = [
        line for line in lines if " ".join(format_narrow_cells(rows()[1], "official")[1:]) in " ".join(line.split())
    ]
    assert len(whole) == len(rows()) - 1


def test_markdown_has_a_line_a_row_of_as_many_cells_with_the_other_protocols_p() -> None:
    text = format_markdown(rows(), "official")
    lines = text.splitlines()
    assert len(lines) == len(rows()) + 2
    assert len({line.count("|") for line in lines}) == 1
    assert "P, strict" in lines[0]
    assert lines[3].count("(noise)") == 2
    assert "~" not in text


def test_what_was_fitted_to_the_rows_that_it_is_scored_on_stands_in_json_alone_and_is_called_so() -> None:
    fitted = row("x", "title", fitted=True)
    assert fitted.as_dict()["in_sample"] == [0.9]
    assert fitted.as_dict()["cross_fitted"] is True
    assert "0.9" not in format_markdown([row("base", "base", base=True), fitted], "official")
    assert "in_sample" not in row("y", "plain").as_dict()
