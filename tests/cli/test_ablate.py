"""``abawkit ablate`` refuses what can't be compared before anything is drawn; `.ci/run` runs a whole one."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run, answer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "losses.atention=1"], "losses.atention: unknown key"),
        (["--set", "losses.attention=0"], "the attention loss is none, expected diversity"),
        (["--set", "all.epochs=0", "--set", "heads.epochs=1"], "nothing to be compared with"),
        (["--recipe", "absent"], "can't read this recipe"),
        (["--recipe", "sequence-bigru"], "trains on stored features, and an ablation trains on frames"),
    ],
)
def test_a_recipe_with_nothing_to_compare_is_refused_before_anything_is_drawn(
    run: Run, tmp_path: Path, options: list[str], said: str
) -> None:
    out = tmp_path / "ablation"
    result = run("ablate", "--size", "tiny", "--out", out, *options, "--json", code=2)
    assert said in result.stderr
    assert said in answer(result)["error"]
    assert not out.exists()


def test_weights_and_releases_that_are_not_there_are_named(run: Run, tmp_path: Path) -> None:
    out, absent = tmp_path / "ablation", tmp_path / "absent"
    assert str(absent) in run("ablate", "--out", out, "--weights", absent, code=3).stderr
    assert f"{absent}: no such folder" in run("ablate", absent, "--out", out, code=3).stderr
    assert not out.exists()


def test_a_folder_that_holds_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    assert "is not empty" in run("ablate", "--size", "tiny", "--out", tmp_path, "--force", code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
