"""Notes of what was left alone are a line a reason; tables of scores have the parts that there are."""

from abawkit.cli._tables import group_notes, name_score_parts
from abawkit.labels import ACTION_UNITS, TASKS

FEW = "fewer than 25 rows of 3 videos"


def test_a_dozen_units_of_one_reason_are_a_line() -> None:
    notes = [
        f"threshold of {unit}: kept as is, active in {i} rows of 2 videos, {FEW}" for i, unit in enumerate(ACTION_UNITS)
    ]
    notes += [f"bias of Fear: kept as is, annotated in 3 rows of 1 video, {FEW}"]
    (line,) = group_notes(notes)
    assert line == (
        f"threshold of AU1, AU2, AU4, AU6, AU7, AU10 and 6 more; bias of Fear: kept as is, {FEW} each "
        "(--json has the counts)"
    )


def test_other_notes_and_single_ones_stay_as_they_are_and_in_order() -> None:
    one = f"threshold of AU15: kept as is, active in 24 rows of 9 videos, {FEW}"
    gained = [f"{what} of va: kept as is, the search gained nothing by it" for what in ("smoothing", "weights")]
    best = "the weights of each run are those of the epoch that scored best: all figures are a little too good"
    assert group_notes([one, gained[0], best, gained[1]]) == [
        one,
        "smoothing of va; weights of va: kept as is, the search gained nothing by it",
        best,
    ]
    assert group_notes([]) == []


def test_a_score_has_the_parts_of_its_tasks_and_p_is_the_sum_of_all_three() -> None:
    assert name_score_parts(("va",)) == {"ccc_va": "CCC"}
    assert name_score_parts(("va", "au")) == {"ccc_va": "CCC", "au_f1": "AU", "score": "sum"}
    assert list(name_score_parts(TASKS).values()) == ["CCC", "EXPR", "AU", "P"]
