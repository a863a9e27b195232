"""Stamps: a step is fresh while its outputs are as it left them and were made of the same things."""

from pathlib import Path

from abawkit.pipeline.step_cache import Stamps, Step, digest_path


def step(folder: Path, **made_of: object) -> Step:
    return Step("a step", made_of, [folder / "out.txt"])


def test_a_step_is_due_until_it_is_done(tmp_path: Path) -> None:
    stamps, one = Stamps(tmp_path), step(tmp_path, seed=1)
    assert stamps.reason(one) == "not made yet"
    stamps.begin(one)
    assert stamps.reason(one) == "was interrupted"
    (tmp_path / "out.txt").write_text("made")
    stamps.done(one)
    assert stamps.reason(one) is None
    assert Stamps(tmp_path).reason(one) is None


def test_all_that_changed_is_named(tmp_path: Path) -> None:
    stamps = Stamps(tmp_path)
    (tmp_path / "out.txt").write_text("made")
    stamps.done(step(tmp_path, seed=1, data="a", recipe={"x": [1, 2]}))
    assert stamps.reason(step(tmp_path, seed=2, data="a", recipe={"x": [1, 3]})) == "recipe, seed changed"
    assert stamps.reason(step(tmp_path, seed=1, data="a")) == "recipe changed"
    assert stamps.reason(step(tmp_path, seed=1, data="a", recipe={"x": [1, 2]}, more=1)) == "more changed"


def test_notes_are_those_of_the_same_step_that_has_not_ended(tmp_path: Path) -> None:
    stamps, one = Stamps(tmp_path), step(tmp_path, seed=1)
    assert stamps.begun(one) is None
    stamps.begin(one, {"threads": 2})
    assert stamps.begun(one) == {"threads": 2}
    assert stamps.begun(step(tmp_path, seed=2)) is None
    (tmp_path / "out.txt").write_text("made")
    stamps.done(one)
    assert stamps.begun(one) is None


def test_a_folder_is_digested_by_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text("1")
    (folder / "inner/b.txt").write_text("2")
    whole = digest_path(folder)
    (folder / "a.txt").rename(folder / "c.txt")
    renamed = digest_path(folder)
    (folder / "c.txt").rename(folder / "a.txt")
    assert renamed != whole == digest_path(folder)
    (folder / "a.txt").write_text("3")
    assert digest_path(folder) != whole
