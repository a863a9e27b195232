"""A step is done while its outputs are as it left them and its inputs are the same."""

from pathlib import Path

import pytest

from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import Step, StepCache, StepCommand, digest_path


def make_step(folder: Path, **made_of: object) -> Step:
    return Step("a step", made_of, [folder / "out.txt"])


def finish(folder: Path, step: Step) -> StepCache:
    cache = StepCache(folder)
    with cache.run(step):
        (folder / "out.txt").write_text("made")
    return cache


def test_a_step_is_due_until_it_has_ended(tmp_path: Path) -> None:
    cache, step = StepCache(tmp_path), make_step(tmp_path, seed=1)
    assert cache.explain(step) == "not made yet"
    with pytest.raises(KeyboardInterrupt), cache.run(step):
        raise KeyboardInterrupt
    assert cache.explain(step) == "was interrupted"
    assert cache.finished == []
    assert finish(tmp_path, step).finished == ["a step"]
    assert cache.is_done(step)
    assert StepCache(tmp_path).is_done(step)


def test_an_output_that_changed_or_is_gone_is_named(tmp_path: Path) -> None:
    step = make_step(tmp_path, seed=1)
    cache = finish(tmp_path, step)
    (tmp_path / "out.txt").write_text("other")
    assert cache.explain(step) == "out.txt is not as it was written"
    (tmp_path / "out.txt").unlink()
    assert cache.explain(step) == "out.txt is gone"
    assert cache.find_changes(step) == []


def test_all_that_changed_is_named(tmp_path: Path) -> None:
    cache = finish(tmp_path, make_step(tmp_path, seed=1, data="a", recipe={"x": [1, 2]}))
    assert cache.explain(make_step(tmp_path, seed=2, data="a", recipe={"x": [1, 3]})) == "recipe, seed changed"
    assert cache.explain(make_step(tmp_path, seed=1, data="a")) == "recipe changed"
    assert cache.explain(make_step(tmp_path, seed=1, data="a", recipe={"x": [1, 2]}, more=1)) == "more changed"


def test_notes_are_those_of_an_unfinished_attempt_of_the_same_step(tmp_path: Path) -> None:
    cache, step = StepCache(tmp_path), make_step(tmp_path, seed=1)
    assert cache.read_notes(step) is None
    with pytest.raises(KeyboardInterrupt), cache.run(step, notes=[{"threads": 2}]):
        raise KeyboardInterrupt
    assert cache.read_notes(step) == {"threads": 2}
    assert cache.read_notes(make_step(tmp_path, seed=2)) is None
    assert finish(tmp_path, step).read_notes(step) is None


def test_outputs_without_a_stamp_are_adopted_only_if_all_are_there(tmp_path: Path) -> None:
    cache, step = StepCache(tmp_path), make_step(tmp_path, seed=1)
    cache.adopt(step)
    assert cache.explain(step) == "not made yet"
    (tmp_path / "out.txt").write_text("made")
    cache.adopt(step)
    assert cache.is_done(step)
    other = make_step(tmp_path, seed=2)
    cache.adopt(other)
    assert cache.explain(other) == "seed changed"


def test_commands_run_in_waves_and_those_before_a_failure_stay_done(tmp_path: Path) -> None:
    steps = [Step(name, {}, [tmp_path / name]) for name in "abc"]
    waves = []

    def run(commands: list[list[str]], _: object) -> list[dict[str, object]]:
        waves.append(commands)
        for (name,) in commands:
            if name == "c":
                raise KeyboardInterrupt
            (tmp_path / name).touch()
        return [{} for _ in commands]

    cache = StepCache(tmp_path)
    commands = [StepCommand(step, [step.name]) for step in steps]
    with pytest.raises(KeyboardInterrupt):
        cache.run_commands(commands, ExecutionOptions(run=run), jobs=2)
    assert waves == [[["a"], ["b"]], [["c"]]]
    assert [cache.is_done(step) for step in steps] == [True, True, False]


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
