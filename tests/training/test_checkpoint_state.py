"""A forged state is refused, each key by name, before any of it is used."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.errors import DataError
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import save_weights
from abawkit.run_names import AVERAGE, STATE
from abawkit.scoring.score import Score
from abawkit.training.build import build_loop
from abawkit.training.callbacks import Callbacks
from abawkit.training.checkpoint import Checkpoint, find_newest_checkpoint
from abawkit.training.checkpoint_state import _Progress, _Score, load_optimizer, read_run_state
from abawkit.training.distributed import ALONE
from abawkit.training.loop import Loop
from abawkit.training.progress import Progress
from abawkit.training.recipe import Recipe
from abawkit.training.resume import read_recorded
from abawkit.training.run import Trained
from abawkit.training.start import Inputs

WORDS = torch.zeros(624, dtype=torch.int64)
DEEP = "a" + ".a" * 3000 + " = 1"


@pytest.fixture
def checkpoint(full_run: Trained, tmp_path: Path) -> Checkpoint:
    """The last checkpoint of a finished run, with a state of its own to change."""
    found, _ = find_newest_checkpoint(full_run.out)
    assert found
    for path in found.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return Checkpoint(tmp_path, found.position, found.digests)


def forge(checkpoint: Checkpoint, key: str, value: Any) -> dict[str, Any]:
    """Sets one key of its state, and gives the state."""
    state = checkpoint.state()
    inner: Any = state
    *outer, last = (int(name) if name.isdigit() else name for name in key.split("."))
    for name in outer:
        inner = inner[name]
    inner[last] = value
    torch.save(state, checkpoint.folder / STATE)
    return state


def test_what_a_run_writes_is_taken(checkpoint: Checkpoint) -> None:
    assert read_run_state(checkpoint)["progress"]["steps"] == 8


def test_a_path_may_hold_any_bytes_that_a_path_can(checkpoint: Checkpoint) -> None:
    forge(checkpoint, "data.folder", "\udcff/curated")
    assert read_run_state(checkpoint)["data"]["folder"] == "\udcff/curated"


def test_each_field_of_progress_and_scores_is_checked() -> None:
    assert set(_Progress.model_fields) == set(Progress().as_dict())
    anything: dict[str, Any] = dict.fromkeys(field.name for field in fields(Score))
    assert set(_Score.model_fields) == set(Score(**anything).as_dict())


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("recipe", 3, "recipe: Input should be a valid string, got a value of type int"),
        ("recipe", "seed = ", "recipe: is not TOML"),
        ("recipe", "seed = -1", "recipe: seed"),
        ("recipe", DEEP, "recipe: a.a.a.a.a: is nested too deeply"),
        ("data", [], "data: "),
        ("data", {}, "data.folder: Field required"),
        ("data.folder", "a\0b", "data.folder: "),
        ("data.frames", 1, "data.frames: "),
        ("weights", {"path": "x"}, "weights.sha256: Field required"),
        ("asked_ops", 1, "asked_ops: "),
        ("environment", None, "environment: "),
        ("environment.threads", 0, "environment.threads: "),
        ("environment.threads", True, "environment.threads: "),
        ("environment.torch", [1], "environment.torch"),
        ("progress", {}, "progress.place: Field required"),
        ("progress.more", 1, "progress.more: "),
        ("progress.place", [0], "progress.place: "),
        ("progress.place", [0, 0], "progress.place: is [0, 0], in the checkpoint 0002-000000"),
        ("progress.steps", -1, "progress.steps: "),
        ("progress.steps", 2**63, "progress.steps: "),
        ("progress.history", ["\ud800"], "progress.history.0: "),
        ("progress.sums", {"total": float("nan")}, "progress.sums.total: "),
        ("progress.sums", {"total": 1.0}, "progress.counted: is 0, and there are sums"),
        ("progress.figure", float("nan"), "progress.figure: "),
        ("progress.figure", float("-inf"), "progress.figure: is -inf, of a best epoch"),
        ("progress.best_epoch", 0, "progress.best_epoch: is 0, and best.safetensors says otherwise"),
        ("progress.scores", {"official": {"protocol": "official"}}, "progress.scores.official.rows: Field required"),
        ("progress.resumed", [{"from": "x"}], "progress.resumed.0.drift: Field required"),
        ("optimizer", {"state": {"0": {}}}, "optimizer.state.0"),
        ("optimizer.state.0", {"step": 1.0}, "optimizer.state.0.step: "),
        ("average_steps", None, "average_steps: "),
        ("generators.python", (3, (0,), None), "generators: state vector is the wrong size"),
        ("generators.python", [], "generators.python: "),
        ("generators.numpy", ["MT19937", WORDS, 10**6, 0, 0.0], "generators: numpy: expected a name, 624 words"),
        ("generators.numpy", ["MT19937", WORDS[:9], 0, 0, 0.0], "generators: numpy: expected a name, 624 words"),
        ("generators.numpy", ["MT19937", WORDS.double(), 0, 0, 0.0], "generators: numpy: expected a name, 624 words"),
        ("generators.numpy", ["PCG64", WORDS, 0, 0, 0.0], "generators: set_state can only be used with legacy MT19937"),
        ("generators.numpy", [], "generators.numpy: "),
        ("generators.torch", torch.zeros(9, dtype=torch.uint8), "generators: Expected a CPUGeneratorImplState"),
        ("generators.torch", torch.zeros(5056, dtype=torch.uint8), "generators: Invalid mt19937 state"),
        ("generators.cuda", [1], "generators.cuda.0: "),
    ],
)
def test_what_no_run_writes_is_named(checkpoint: Checkpoint, key: str, value: Any, named: str) -> None:
    forge(checkpoint, key, value)
    with pytest.raises(DataError) as caught:
        read_run_state(checkpoint)
    first, *problems, last = str(caught.value).splitlines()
    assert first == f"{checkpoint.folder / STATE}: is not the state of a run:"
    assert any(problem.startswith(named) for problem in problems), problems
    assert last == "nothing of it was used; continue from another checkpoint"


def test_a_state_that_holds_itself_is_refused(checkpoint: Checkpoint) -> None:
    endless: list[Any] = []
    endless.append(endless)
    forge(checkpoint, "progress.resumed", endless)
    with pytest.raises(DataError, match=r"progress\.resumed\.0: "):
        read_run_state(checkpoint)


def test_of_many_problems_ten_are_shown(checkpoint: Checkpoint) -> None:
    forge(checkpoint, "progress.history", [1] * 30)
    with pytest.raises(DataError, match=r"\n\.\.\. and 20 more\n"):
        read_run_state(checkpoint)


def test_what_a_run_was_begun_with_is_not_taken_from_a_forged_state(full_run: Trained, tmp_path: Path) -> None:
    assert read_recorded(tmp_path) is None
    begun = read_recorded(full_run.out)
    assert begun
    assert begun.threads == 1


def adam(*shapes: tuple[int, ...]) -> tuple[torch.optim.Adam, list[torch.nn.Parameter]]:
    """An optimiser that has taken a step."""
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    return optimizer, parameters


def test_an_optimiser_goes_on_with_its_numbers_and_the_settings_of_the_recipe() -> None:
    before, after = adam((2, 3), (4,))[0], adam((2, 3), (4,))[0]
    before.step()
    kept = before.state_dict()
    load_optimizer(after, {"state": kept["state"], "param_groups": "forged"}, "state.pt")
    assert after.param_groups[0]["lr"] == 0.1
    for number, values in after.state_dict()["state"].items():
        assert all(values[key].equal(value) for key, value in kept["state"][number].items())


@pytest.mark.parametrize(
    ("number", "key", "value"),
    [
        (2, "step", torch.tensor(1.0)),
        (0, "max_exp_avg_sq", torch.ones(2, 3)),
        (0, "step", torch.tensor(-1.0)),
        (0, "step", torch.tensor(float("nan"))),
        (0, "step", torch.ones(1)),
        (0, "exp_avg", torch.ones(3, 2)),
        (0, "exp_avg", torch.ones(2, 3, dtype=torch.complex64)),
        (0, "exp_avg", torch.ones(2, 3, device="meta")),
        (0, "exp_avg_sq", torch.nn.Parameter(torch.ones(2, 3))),
        (1, "exp_avg_sq", torch.ones(4).to_sparse()),
    ],
)
def test_numbers_of_another_optimiser_are_refused(number: int, key: str, value: torch.Tensor) -> None:
    optimizer, _ = adam((2, 3), (4,))
    state = optimizer.state_dict()["state"]
    forged = {**state, number: {**state.get(number, {}), key: value}}
    with pytest.raises(DataError, match=rf"state\.pt: optimizer: what it keeps for parameter {number} is not of this"):
        load_optimizer(optimizer, {"state": forged}, "state.pt")


def test_numbers_that_share_memory_each_get_their_own() -> None:
    optimizer, parameters = adam((4,), (4,))
    shared = torch.zeros(()).expand(4)
    state = {i: {"step": torch.tensor(1.0), "exp_avg": shared, "exp_avg_sq": shared} for i in range(2)}
    load_optimizer(optimizer, {"state": state}, "state.pt")
    optimizer.step()
    assert parameters[0].equal(parameters[1])


def test_an_optimiser_that_was_not_kept_is_refused() -> None:
    with pytest.raises(DataError, match=r"state\.pt: optimizer: nothing is kept"):
        load_optimizer(adam((4,))[0], None, "state.pt")


@pytest.fixture
def loop(recipe: Callable[..., Recipe], curated: Path, tmp_path: Path) -> Loop:
    """A run like that of the checkpoint, which has not begun."""
    from abawkit.curation.curated_set import open_curated

    out = tmp_path / "out"
    out.mkdir()
    return build_loop(
        recipe(ema=0.9), Inputs(curated), open_curated(curated), out, processes=ALONE, callbacks=Callbacks()
    )


def test_an_average_of_another_network_is_refused(checkpoint: Checkpoint, loop: Loop) -> None:
    other = NETWORKS["ddamfn-nano"].to_dict() | {"attention_heads": 1}
    config = type(NETWORKS["ddamfn-nano"]).from_dict(other)
    save_weights(checkpoint.folder / AVERAGE, config, DDAMFN(config).state_dict())
    with pytest.raises(DataError, match=rf"{AVERAGE}: these are not weights of this network"):
        loop.restore(checkpoint, read_run_state(checkpoint))


def test_an_optimiser_s_numbers_are_checked_before_the_first_step(checkpoint: Checkpoint, loop: Loop) -> None:
    forge(checkpoint, "optimizer.state.0.exp_avg", torch.zeros(3))
    loop.restore(checkpoint, read_run_state(checkpoint))
    with pytest.raises(DataError, match=rf"{STATE}: optimizer: what it keeps for parameter 0"):
        loop.learner.begin_epoch(loop.plan[1], fresh=False)


def test_the_numbers_of_every_generator_are_tried_on_others(checkpoint: Checkpoint) -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002
    read_run_state(checkpoint)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index] # noqa: NPY002
