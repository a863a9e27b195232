"""A repair puts right what has one right answer, names it with its lines, and leaves everything else alone."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.editions import ABAW4, ABAW5VA, ABAW7, ABAW11, ABAW5ActionUnits, ABAW5Expression, ABAW7Compound
from abawkit.formats.repair import RepairedSubmission, repair_content
from abawkit.formats.single_file import FlatFile

Rows = Callable[..., list[str]]
Write = Callable[..., Path]

HEADER = "image,valence,arousal,expression,aus"
NAMED = "image,valence,arousal,expression,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
ROWS = [
    "video1/00001.jpg,0.5,-2.5e-1,3,1,0,0,0,1,0,0,0,0,0,1,0",
    "video1/00008.jpg,-1,0.123456789,7,0,1,0,0,0,0,0,0,0,1,0,1",
    "video1/00017.jpg,1.000,-0.0,0,1,0,0,0,1,0,0,0,0,0,1,0",
]
GOOD = "\n".join([HEADER, *ROWS, ""])


@pytest.fixture
def mend(write: Write) -> Callable[..., RepairedSubmission]:
    """Repairs a file that answers the rows of `GOOD`, or a list of these names."""

    def mend(
        content: str | bytes,
        names: list[str] | None = None,
        plugin: SubmissionFormat | None = None,
        file: str = "f.txt",
    ) -> RepairedSubmission:
        plugin = plugin or ABAW7()
        listed = names or [row.split(",")[0] for row in ROWS]
        frames = plugin.read_list(write("\n".join(["image", *listed]), "list.txt"))
        path = write(content, file)
        before = path.read_bytes()
        result = repair_content(path, frames, plugin)
        assert path.read_bytes() == before
        return result

    return mend


Mend = Callable[..., RepairedSubmission]


def named(result: RepairedSubmission) -> list[tuple[tuple[int, ...], str, str]]:
    return [(repair.lines, repair.column, repair.what) for repair in result.repairs]


def test_a_good_file_needs_nothing_however_its_numbers_are_written(mend: Mend) -> None:
    assert mend(GOOD) == RepairedSubmission(GOOD.encode(), [], [])


@pytest.mark.parametrize(
    ("damage", "lines", "column", "what"),
    [
        (lambda t: "\ufeff" + t, (), "", "byte-order mark removed"),
        (lambda t: t.replace("\n", "\r\n"), (1, 2, 3, 4), "", "line end CRLF became LF"),
        (lambda t: t.replace("\n", "\r"), (1, 2, 3, 4), "", "line end CR became LF"),
        (lambda t: t[:-1], (4,), "", "newline added at the end"),
        (lambda t: t.replace(",1,0\n", ",1,0 \t\n"), (2, 4), "", "trailing blanks removed"),
        (lambda t: t.replace("\n", "\n\n"), (2, 4, 6, 8), "", "blank line removed"),
        (lambda t: "\n \n" + t, (1, 2), "", "blank line removed"),
        (lambda t: t.replace(",1,0\n", ",1,0,\n"), (2, 4), "", "trailing comma removed"),
        (lambda t: t.replace(",1,0\n", ",1,0,, ,\n"), (2, 4), "", "trailing commas removed"),
        (lambda t: t.replace(".jpg,", ".jpg,,"), (2, 3, 4), "", "comma behind the image name removed"),
        (lambda t: t.replace(",7,", ",7.0,"), (3,), "expression", "'7.0' became '7'"),
        (lambda t: t.replace(",7,", ",+7,"), (3,), "expression", "'+7' became '7'"),
        (lambda t: t.replace(",7,", ",07.,"), (3,), "expression", "'07.' became '7'"),
        (lambda t: t.replace(",0,1\n", ",-0.00,1\n"), (3,), "AU25", "'-0.00' became '0'"),
        (lambda t: t.replace(",1,0\n", ",1.0,0\n"), (2, 4), "AU25", "'1.0' became '1'"),
        (lambda t: t.replace(",7,", ', "7",'), (3,), "expression", """' "7"' became '7'"""),
        (lambda t: t.replace("1.000", " 1.000\t"), (4,), "valence", "' 1.000\t' became '1.000'"),
        (lambda t: t.replace("video1/00008.jpg", '"video1/00008.jpg"'), (3,), "image", None),
        (lambda t: t.replace(HEADER + "\n", ""), (), "", f"header added: '{HEADER}'"),
    ],
)
def test_what_has_one_right_answer_is_put_right_and_named_with_its_lines(
    mend: Mend, damage: Callable[[str], str], lines: tuple[int, ...], column: str, what: str | None
) -> None:
    result = mend(damage(GOOD))
    assert result.content == GOOD.encode()
    assert result.problems == []
    assert named(result) == [(lines, column, what or "'\"video1/00008.jpg\"' became 'video1/00008.jpg'")]


@pytest.mark.parametrize(
    "header",
    [
        "image",
        "Image,Valence",
        "image_location,valence,arousal,expression,aus",
        "image, valence, arousal, expression, aus",
        '"image","valence","arousal","expression","aus"',
        NAMED,
        "image,valence,arousal,expression,au01,au02,au04,au06,au07,au10,au12,au15,au23,au24,au25,au26",
        "image,valence,arousal,expression,aus,,,,,,,,,,,",
        "image,V,A,E,AU",
        "image_name,valence,",
    ],
)
def test_a_header_of_another_width_or_name_becomes_the_official_one(mend: Mend, header: str) -> None:
    result = mend(GOOD.replace(HEADER, header))
    assert result.content == GOOD.encode()
    assert [(repair.lines, repair.what[:8]) for repair in result.repairs] == [((1,), "header '")]
    assert result.problems == []


@pytest.mark.parametrize(
    "header",
    [
        "image,arousal,valence,expression,aus",
        "image,A,V,E,AU",
        "image,valence,arousal,AU1",
        "image,,valence,arousal,expression,aus",
    ],
)
def test_a_header_with_columns_in_another_order_is_refused_as_the_cells_may_be_in_it_too(
    mend: Mend, header: str
) -> None:
    result = mend(GOOD.replace(HEADER, header))
    assert not result.repairs
    assert [problem.line for problem in result.problems] == [1, 1]
    assert any("in another order too is unknown" in problem.message for problem in result.problems)


@pytest.mark.parametrize(
    ("header", "got", "official"),
    [
        ("image,x,y", "'x'", "'valence'"),
        ("image,valence,dominance,expression,aus", "'dominance'", "'arousal'"),
        ("image,valence,,expression,aus", "nothing", "'arousal'"),
        ("image,val", "'val'", "'valence'"),
        ("image,valence,arousal,expression,aus,confidence", "'confidence'", "no name"),
        ("image,valence,arousal,expression,aus,,x", "nothing", "no name"),
        (f"{NAMED},AU28", "'AU28'", "no name"),
    ],
)
def test_a_header_with_any_other_word_is_refused_as_its_column_may_hold_something_else(
    mend: Mend, header: str, got: str, official: str
) -> None:
    result = mend(GOOD.replace(HEADER, header))
    assert not result.repairs
    assert {problem.line for problem in result.problems} == {1}
    reason = f"the header has {got} where the official one has {official}; what the column holds is unknown"
    assert reason in [problem.message for problem in result.problems]


@pytest.mark.parametrize(
    ("plugin", "header", "got", "official"),
    [
        (ABAW5Expression(), ABAW7Compound().header, "Fearfully_Surprised", "Neutral"),
        (ABAW7Compound(), ABAW5Expression().header, "Neutral", "Fearfully_Surprised"),
        (ABAW5ActionUnits(), ABAW5ActionUnits().header.replace("AU4,AU6", "AU5,AU9"), "AU5", "AU4"),
        (ABAW5Expression(), ABAW5Expression().header.replace("Other", "Contempt"), "Contempt", "Other"),
        (ABAW5VA(), "image_location,Neutral,Other", "Neutral", "valence"),
    ],
)
def test_a_header_of_another_track_is_refused_though_the_cells_would_do(
    mend: Mend, plugin: FlatFile, header: str, got: str, official: str
) -> None:
    row = ",".join("1" for _ in plugin.columns[1:])
    result = mend(f"{header}\nv/1.jpg,{row}\n", ["v/1.jpg"], plugin)
    assert not result.repairs
    assert {problem.line for problem in result.problems} == {1}
    reason = f"the header has '{got}' where the official one has '{official}'"
    assert any(problem.message.startswith(reason) for problem in result.problems)


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        (",7,", ",7.5,", 3, "expression", "got '7.5', expected an integer in 0..7"),
        (",7,", ",8.0,", 3, "expression", "got '8', expected an integer in 0..7"),
        (",7,", ",-1,", 3, "expression", "got '-1', expected an integer in 0..7"),
        (",7,", ",7e0,", 3, "expression", "got '7e0', expected an integer in 0..7"),
        (",7,", ",,", 3, "expression", "got nothing, expected an integer in 0..7"),
        (",-1,0.12", ",nan,0.12", 3, "valence", "got 'nan', expected a number in -1..1"),
        (",-1,0.12", ",-5,0.12", 3, "valence", "got '-5', expected a number in -1..1"),
        (",-1,0.12", ",1.0000001,0.12", 3, "valence", "got '1.0000001', expected a number in -1..1"),
        ("1,0,1\n", "1,0\n", 3, "", "got 15 fields, expected 16 fields"),
        ("1,0,1\n", "1,0,1,0\n", 3, "", "got 17 fields, expected 16 fields"),
        ("1,0,1\n", "1,0,\n", 3, "AU26", "got nothing, expected an integer in 0..1"),
    ],
)
def test_what_has_no_one_right_answer_is_named_and_left(
    mend: Mend, old: str, new: str, line: int, column: str, message: str
) -> None:
    assert old in GOOD
    result = mend(GOOD.replace(old, new, 1))
    assert [(p.line, p.column, p.message) for p in result.problems] == [(line, column, message)]


def test_missing_extra_and_unknown_rows_are_left(mend: Mend) -> None:
    lines = GOOD.split("\n")
    missing = mend("\n".join([*lines[:2], *lines[3:]]))
    assert [(p.line, p.message[:11]) for p in missing.problems] == [(3, "row missing")]
    extra = mend("\n".join([*lines[:3], lines[2], *lines[3:]]))
    assert [(p.line, "one more" in p.message) for p in extra.problems] == [(4, True)]
    unknown = mend(GOOD.replace("00008", "00009"))
    assert [p.line for p in unknown.problems] == [3, 3]


def test_a_defect_that_is_left_has_the_line_of_the_file_as_it_was(mend: Mend) -> None:
    lines = GOOD.replace(",7,", ",9,").split("\n")
    result = mend("\r\n".join(["", lines[3], "", lines[1] + ",", lines[2], ""]))
    assert [(p.line, p.column) for p in result.problems] == [(5, "expression")]
    assert result.repairs


def test_a_compressed_file_is_repaired_into_a_plain_one(mend: Mend) -> None:
    result = mend(gzip.compress(GOOD.replace("\n", "\r\n").encode(), mtime=0), file="f.txt.gz")
    assert result.content == GOOD.encode()
    assert [repair.what for repair in result.repairs] == ["line end CRLF became LF"]


@pytest.mark.parametrize(
    "content", [b"", b"\n \r\n", b"image\n", b"valence,arousal\n0,0\n", b"\xff\xfe", b"PK\x03\x04"]
)
def test_what_is_no_submission_at_all_is_refused_by_its_own_name(mend: Mend, content: bytes) -> None:
    with pytest.raises(DataError, match=r"/f\.txt:.*expected"):
        mend(content)


@pytest.mark.parametrize(
    "plugin", [ABAW4(), ABAW11(), ABAW5VA(), ABAW5Expression(), ABAW5ActionUnits(), ABAW7Compound()]
)
def test_every_flat_format_is_repaired_by_what_it_says_of_its_columns(mend: Mend, plugin: FlatFile) -> None:
    row = ",".join("0.5" if column.kind == "real" else "1" for column in plugin.columns[1:])
    good = f"{plugin.header}\nv/1.jpg,{row}\nv/3.jpg,{row}\n"
    bad = "image\r\n" + "".join(f"v/{number}.jpg,{row.replace('1', '01.0')},\r\n" for number in (3, 1))
    result = mend(bad, ["v/1.jpg", "v/3.jpg"], plugin)
    assert result.problems == []
    assert result.content == good.encode()


def test_a_header_of_classes_in_another_order_is_refused(mend: Mend) -> None:
    plugin = ABAW7Compound()
    names = plugin.header.split(",")
    swapped = ",".join([names[0], names[2], names[1], *names[3:]])
    result = mend(f"{swapped}\nv/1.jpg,0\n", ["v/1.jpg"], plugin)
    assert any("in another order too is unknown" in problem.message for problem in result.problems)


def test_a_format_that_does_not_say_what_its_files_look_like_is_not_repaired(mend: Mend) -> None:
    class Theirs(ABAW7):
        name = "theirs"
        columns = ()

    with pytest.raises(ConfigError, match="the format theirs can't be repaired"):
        mend(GOOD, plugin=Theirs())
