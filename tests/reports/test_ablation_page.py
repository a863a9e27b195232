"""The page of an ablation: every row and number of its table, noise that is marked, text that stays text."""

from typing import Any

import numpy as np

from abawkit.ablation.report import Report, Row
from abawkit.ablation.statistics import SeedScores
from abawkit.reports.ablation import make_ablation_page
from abawkit.reports.page import Page, render_page
from abawkit.scoring.bootstrap import PARTS, Interval
from tests.reports.test_page import EVIL, Reader


def make_row(title: str, scores: list[float], gap: Interval | None = None, in_sample: tuple[float, ...] = ()) -> Row:
    """A row with these P of its seeds, under both protocols."""
    each = np.array([[0.1, 0.2, 0.3, score] for score in scores])
    found = SeedScores(each, dict.fromkeys(PARTS, gap) if gap else {})
    return Row(title, title, {"official": found, "strict": found}, (1, 2), bool(in_sample), in_sample)


def make_page(text: str = "plain") -> Page:
    rows = [
        make_row("base", [0.5, 0.7]),
        make_row(text, [0.4, 0.9], Interval(0.05, -0.1, 0.2)),
        make_row("fitted", [0.6, 0.8], Interval(0.1, 0.05, 0.15), in_sample=(0.9, 0.7)),
        make_row("ensemble", [0.75], Interval(-0.2, -0.3, -0.1)),
    ]
    run = {"variant": text, "tasks": ["va"], "policy": "strict", "changes": [text], "seed": 1, "rows": 70, "steps": 9}
    content: dict[str, Any] = {
        "release": f"drawn, {text}",
        "recipe": {"name": text, "set": [text]},
        "start": {"path": text, "sha256": "f00", "stand_in": False},
        "seeds": [1, 2],
        "videos": 6,
        "runs": [run],
    }
    return make_ablation_page(Report(rows, "official", [text], content))


def test_every_row_has_its_means_its_deviation_and_its_difference() -> None:
    official, strict = make_page().sections[0].tables
    assert (official.caption, strict.caption) == ("Official protocol", "Strict protocol")
    base, other, fitted, ensemble = official.rows
    assert base == ["base", "2", "0.1000", "0.2000", "0.3000", "0.6000", "0.1414", "-", "-", "-", "-"]
    assert other[6:] == ["0.3536", "+0.0500", "-0.1000", "+0.2000", "yes"]
    assert fitted[-1] == "no"
    assert ensemble[6] == "-"  # one score has no deviation


def test_the_first_chart_is_of_p_and_names_what_is_beyond_noise() -> None:
    charts = make_page().sections[1].charts
    assert [chart.title.partition(":")[0] for chart in charts] == ["P", "CCC", "EXPR", "AU"]
    assert charts[0].text == "Beyond noise: fitted, ensemble."
    assert [row[0] for row in charts[0].table.rows] == ["plain", "fitted", "ensemble"]


def test_seeds_are_shown_one_by_one_and_an_ensemble_has_one_score() -> None:
    (chart,) = make_page().sections[2].charts
    assert chart.table.rows[1] == ["plain", "0.4000", "0.9000"]
    assert chart.table.rows[3] == ["ensemble", "0.7500", ""]
    assert "Furthest apart: plain, by 0.500" in chart.text


def test_what_is_fitted_is_shown_with_how_much_too_good_it_is_in_sample() -> None:
    assert make_page().sections[3].tables[0].rows == [["fitted", "0.7000", "0.8000", "+0.1000"]]


def test_the_same_ablation_gives_the_same_bytes_and_text_is_never_markup() -> None:
    text = render_page(make_page())
    assert text == render_page(make_page())
    assert len(text) < 3_000_000
    plain, evil = Reader(text), Reader(render_page(make_page(EVIL)))
    assert evil.tags == plain.tags
    assert [name for name, _ in evil.attributes] == [name for name, _ in plain.attributes]
    assert "synthetic, plain" in text
