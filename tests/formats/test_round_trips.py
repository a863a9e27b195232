"""Writing and reading is the identity in every format, whatever is decided and however images repeat."""

import functools
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.formats.base import get_format
from abawkit.formats.frame_lines import assign_rows
from abawkit.formats.writing import digest_submission, write_submission
from abawkit.tables import FrameList, Submission

FLAT = ["abaw11", "abaw4", "abaw5-au", "abaw5-expr", "abaw5-va", "abaw7", "abaw7-ce"]
FOLDERS = ["abaw3-au", "abaw3-expr", "abaw3-va"]

find = functools.cache(get_format)

videos = st.sampled_from(["v1", "v1_left", "é ü", "10-60-1280x720", "-v", ".v", "'v'"])
names = st.builds("{}/{:05}.jpg".format, videos, st.integers(1, 30))
values = st.integers(-1_000_000, 1_000_000).map(lambda value: value / 1_000_000)
units = st.lists(st.integers(0, 1), min_size=12, max_size=12)
decisions = st.tuples(names, values, values, st.integers(0, 7), units, st.integers(0, 6))
counter = itertools.count()


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    images, valence, arousal, expression, au, compound = zip(
        *draw(st.lists(decisions, min_size=1, max_size=6)), strict=True
    )
    return Submission(
        images=pa.array(images, pa.string()),
        va=np.column_stack([valence, arousal]),
        expression=np.array(expression, np.int8),
        au=np.array(au, np.int8),
        compound=np.array(compound, np.int8),
    )


def listed(submission: Submission) -> FrameList:
    return FrameList(images=submission.images, lines=np.arange(len(submission)) + 2)


@pytest.mark.parametrize("name", FLAT)
@settings(derandomize=True, max_examples=25, deadline=None)
@given(submissions())
def test_a_flat_file_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, submission: Submission
) -> None:
    plugin = find(name)
    path = tmp_path_factory.getbasetemp() / f"{name}.txt"
    write_submission(path, plugin.encode(submission))
    again = plugin.read(path)
    assert again.images.equals(submission.images)
    for answer in plugin.tasks:
        assert getattr(again, answer).tolist() == getattr(submission, answer).tolist()
    assert plugin.check(path, listed(submission)) == []
    assert plugin.encode(again) == plugin.encode(submission)


@pytest.mark.parametrize("name", FOLDERS)
@settings(derandomize=True, max_examples=25, deadline=None)
@given(submissions())
def test_a_folder_is_read_as_it_was_written_with_one_line_for_every_frame(
    tmp_path_factory: pytest.TempPathFactory, name: str, submission: Submission
) -> None:
    plugin = find(name)
    (answer,) = plugin.tasks
    path = tmp_path_factory.getbasetemp() / f"{name}-{next(counter)}"
    content = plugin.encode(submission)
    write_submission(path, content)
    assert plugin.check(path, listed(submission)) == []
    again = plugin.read(path)
    given = dict(zip(again.images.to_pylist(), getattr(again, answer).tolist(), strict=True))
    assert len(given) == len(again)
    first = dict(reversed(list(zip(submission.images.to_pylist(), getattr(submission, answer).tolist(), strict=True))))
    assert {image: given[image] for image in first} == first
    # what was read says every frame, and is written as the same bytes
    assert digest_submission(plugin.encode(again)) == digest_submission(content)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("vw"), st.integers(1, 12)), min_size=1, max_size=8))
def test_each_line_is_answered_by_the_nearest_row_the_earlier_of_two_and_the_first_of_repeats(
    frames: list[tuple[str, int]],
) -> None:
    found = assign_rows(pa.array([f"{video}/{number}.jpg" for video, number in frames]))
    assert list(found) == list(dict.fromkeys(video for video, _ in frames))
    for video, rows in found.items():
        own = [(number, row) for row, (other, number) in enumerate(frames) if other == video]
        assert len(rows) == max(number for number, _ in own)
        for line, row in enumerate(rows.tolist(), start=1):
            assert row == min(own, key=lambda pair: (abs(pair[0] - line), pair))[1]
