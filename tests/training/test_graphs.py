"""When a step is recorded and when replayed: with a stand-in for torch's graphs, and on a GPU where there is one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from abawkit.errors import OpWarning
from abawkit.frames.augmentation_config import DDAMFN_AUGMENTATION
from abawkit.system.files import sha256_of
from abawkit.training.batches import HostBatch
from abawkit.training.graphs import WARM_UP, GraphedStep
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import train
from abawkit.training.start import Inputs

CPU = torch.device("cpu")


class Replayed:
    """Stands for a graph: it repeats the step that was recorded into it, on the memory that this step used."""

    def __init__(self) -> None:
        self.work: Callable[[], None] = lambda: None
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.work()


class Step:
    """Adds what a batch holds to a sum, as a step would change weights."""

    def __init__(self) -> None:
        self.sum = torch.zeros(())
        self.calls: list[tuple[int, bool]] = []
        self.recording: Replayed | None = None
        self.waits = False
        self.restored: list[object] = []

    def __call__(self, frames: Tensor, numbers: Tensor, rows: int, own: int) -> tuple[tuple[str, ...], Tensor]:
        assert (len(frames), own) == (rows, rows)
        self.calls.append((rows, self.recording is not None))
        values = torch.zeros(1)

        def work() -> None:
            self.sum += frames.sum() + numbers.sum()
            values.copy_(self.sum)

        if self.recording and self.waits:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        if self.recording:
            assert optimizer.param_groups[0]["capturable"]
            self.recording.work = work
        else:
            work()
        return ("total",), values


optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    step, stream = Step(), SimpleNamespace(wait_stream=lambda _: None)

    @contextmanager
    def recording(graph: Replayed, **options: Any) -> Iterator[None]:
        assert options["capture_error_mode"] == "thread_local"
        step.recording = graph
        try:
            yield
        finally:
            step.recording = None

    cuda = SimpleNamespace(
        Stream=lambda _: stream,
        graph_pool_handle=lambda: (0, 1),
        current_stream=lambda _: stream,
        set_stream=step.restored.append,
        stream=lambda _: nullcontext(),
        CUDAGraph=Replayed,
        graph=recording,
    )
    monkeypatch.setattr("abawkit.training.graphs.torch.cuda", cuda)
    return step


def batch(rows: int, value: float) -> HostBatch:
    which = np.arange(rows)
    return HostBatch(which, which, torch.full((rows,), value), torch.full((2,), value))


def test_each_size_is_recorded_once_after_its_first_steps_and_replayed_with_new_values(step: Step) -> None:
    take = GraphedStep(step, optimizer, CPU)
    expected = 0.0
    for k in range(8):
        for rows in (4, 3):
            names, values = take(batch(rows, k + rows))
            expected += (rows + 2) * (k + rows)
            assert names == ("total",)
            assert values.tolist() == [expected]
    assert [call for call in step.calls if call[0] == 4] == [(4, False)] * WARM_UP + [(4, True)]
    assert [call for call in step.calls if call[0] == 3] == [(3, False)] * WARM_UP + [(3, True)]
    assert not optimizer.param_groups[0]["capturable"]


def test_a_step_that_cannot_be_recorded_is_taken_as_before_with_one_warning(step: Step) -> None:
    step.waits, take, expected = True, GraphedStep(step, optimizer, CPU), 0.0
    for k in range(2 * WARM_UP):
        if k == WARM_UP:
            with pytest.warns(OpWarning, match="not recorded as a CUDA graph.*not permitted when stream is capturing$"):
                _, values = take(batch(4, 1.0))
        else:
            _, values = take(batch(4, 1.0))
        expected += 6.0
        assert values.tolist() == [expected]
    assert take.refused
    assert len(step.restored) == 1  # torch leaves the recording's stream current where its end fails too
    assert not optimizer.param_groups[0]["capturable"]


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer_name", ["adamw", "sam"])
def test_recorded_steps_end_with_the_same_weights_as_others(curated: Path, tmp_path: Path, optimizer_name: str) -> None:
    ends = []
    for capture in ("off", "auto"):
        recipe = Recipe.model_validate(
            {
                "network": "ddamfn-nano",
                "batch_size": 16,
                "device": "cuda",
                "capture": capture,
                "ema": 0.9,
                "all": Stage(epochs=2, learning_rate=1e-3),
                "optimizer": {"name": optimizer_name, "clip": 1.0},
                "augmentation": DDAMFN_AUGMENTATION,
            }
        )
        (tmp_path / capture).mkdir()
        train(recipe, Inputs(curated), tmp_path / capture)
        ends.append(sha256_of(tmp_path / capture / "last.safetensors"))
    assert ends[0] == ends[1]
