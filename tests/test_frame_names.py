"""Names of frames may hold any character, but lead nowhere else and name no file in two ways."""

import pytest

from abawkit.frame_names import find_name_defect


@pytest.mark.parametrize(
    "name",
    [
        "video1/00001.jpg",
        "a/b/00001.JPG",
        "v_left/1.jpeg",
        "v/1.png",
        "é ü/日.jpg",
        "=1/1.jpg",
        "v..x/1.jpg",
        "v/\x1b.jpg",
    ],
)
def test_a_path_below_the_frames_folder_is_good(name: str) -> None:
    assert find_name_defect(name) is None


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("", "no image name"),
        ("../x/1.jpg", "'..'"),
        ("v/../1.jpg", "'..'"),
        ("/v/1.jpg", "absolute"),
        ("\\\\server\\1.jpg", "absolute"),
        ("C:/v/1.jpg", "absolute"),
        ("c:v/1.jpg", "absolute"),
        ("v\\1.jpg", "backslash"),
        ("v//1.jpg", "empty part"),
        ("./v/1.jpg", "'.'"),
        ("v/./1.jpg", "'.'"),
        (" v/1.jpg", "blanks"),
        ("v/1.jpg ", "blanks"),
        ("v/1\n2.jpg", "newline"),
        ("v/\0.jpg", "NUL"),
        ("1.jpg", "no video folder"),
        ("v/1.txt", "ends in none of"),
        ("v/1", "ends in none of"),
    ],
)
def test_a_name_that_leads_out_or_is_written_in_a_second_way_is_refused(name: str, defect: str) -> None:
    assert defect in (find_name_defect(name) or "")
