"""Trackers: what each library can read back, and that none of them can stop a run."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from abawkit.choices import TRACKERS, TrackerName
from abawkit.errors import DataWarning
from abawkit.training import tracker_libraries, trackers
from abawkit.training.tracker_libraries import FACTORIES, Job, ProcessTracker
from abawkit.training.trackers import Trackers

SETTINGS = {"seed": 3, "tasks": ["va", "au"], "losses": {"au": 0.5, "balance": {"kind": "none"}}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    folder.mkdir()
    return folder


class Recorder:
    """A tracker that keeps what it gets."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.got: list[tuple[dict[str, float], int]] = []
        self.failed: bool | None = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.got.append((dict(values), step))

    def close(self, *, failed: bool) -> None:
        self.failed = failed

    def abandon(self) -> None:
        pass


class Failing(Recorder):
    """A tracker that raises."""

    kind: type[BaseException]

    def log(self, values: Mapping[str, float], step: int) -> None:
        del values, step
        raise self.kind("no space\x1b[2J\nleft")


class Hanging(Recorder):
    """A tracker that hangs until it is released."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.entered, self.release = threading.Event(), threading.Event()

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.entered.set()
        self.release.wait()
        super().log(values, step)


Inject = Callable[[TrackerName, Callable[[Job], Any]], list[Any]]


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Inject:
    """Puts a factory in the place of a library; the list gets what it makes."""

    def replace(name: TrackerName, factory: Callable[[Job], Any]) -> list[Any]:
        made: list[Any] = []

        def make(job: Job) -> Any:
            made.append(factory(job))
            return made[-1]

        monkeypatch.setitem(FACTORIES, name, make)
        return made

    return replace


class Patient(Trackers):
    """Gives the real libraries the time that they take on a busy machine."""

    def close(self, timeout: float = 120) -> None:
        super().close(timeout)


def wait_until_made(made: list[Any]) -> None:
    while not made:
        time.sleep(0.01)


def wait_for(name: TrackerName) -> None:
    """Until the thread of a tracker has ended."""
    for thread in threading.enumerate():
        if thread.name == f"tracker-{name}":
            thread.join()


def test_tensorboard_reads_what_was_logged_and_a_resumed_run_replaces_what_it_repeats(out: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Patient(["tensorboard"], out, SETTINGS) as first:
        for step in range(4):
            first.log({"losses/total": 1.0, "P": step / 4}, step)
    with Patient(["tensorboard"], out, SETTINGS, resumed=True) as second:
        for step in range(2, 6):
            second.log({"losses/total": 2.0}, step)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    total = [(event.step, event.value) for event in events.Scalars("losses/total")]
    assert total == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    assert [event.value for event in events.Scalars("P")] == [0.0, 0.25]
    (text,) = events.Tensors("settings/text_summary")[-1].tensor_proto.string_val
    assert '| tasks | ["va", "au"] |' in text.decode()
    assert "| losses.balance.kind |" in text.decode()


def test_mlflow_reads_what_was_logged_and_a_resumed_run_goes_on(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="full"), Patient(["mlflow"], out, SETTINGS) as first:  # noqa: PT012
        first.log({"losses/total": 2.0, "nan": float("nan")}, 0)
        raise ValueError("disk full")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient((out / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("abawkit")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    with Patient(["mlflow"], out, {**SETTINGS, "seed": 4}, resumed=True) as second:
        second.log({"losses/total": 1.0}, 1)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    history = client.get_metric_history(run.info.run_id, "losses/total")
    assert [(metric.step, metric.value) for metric in history] == [(0, 2.0), (1, 1.0)]
    expected = {"seed": "3", "tasks": '["va", "au"]', "losses.au": "0.5", "losses.balance.kind": "none"}
    assert run.data.params == expected


def test_wandb_writes_offline_and_a_resumed_run_keeps_its_id(out: Path) -> None:
    for resumed in (False, True):
        with Patient(["wandb"], out, SETTINGS, resumed=resumed) as both:
            both.log({"losses/total": 2.0}, int(resumed))
    files = list(out.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert {path.stem for path in files} == {f"run-{(out / 'wandb' / 'run_id').read_text().strip()}"}
    for path in files:
        content = path.read_bytes()
        assert b"losses/total" in content
        assert b"losses.balance.kind" in content


def test_what_a_library_says_when_it_refuses_is_in_the_warning(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    refused = Patient(["wandb"], out, SETTINGS)
    with pytest.warns(DataWarning, match=r"tracker wandb failed, the run goes on without it: .*nonsense"):
        refused.close()


@pytest.mark.parametrize("name", TRACKERS)
def test_an_absent_package_is_one_warning(
    name: TrackerName, out: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: TrackerName = "mlflow" if name == "wandb" else "wandb"
    made = inject(other, Recorder)
    monkeypatch.setitem(sys.modules, name, None)
    with Patient([name, other], out, SETTINGS) as both:
        wait_for(name)
        extra = rf"tracker {name} is not installed, the run goes on without it; pip install 'abawkit\[{name}\]'"
        with pytest.warns(DataWarning, match=extra) as caught:
            both.log({"loss": 1.0}, 0)
        both.log({"loss": 0.5}, 1)
    assert len(caught) == 1
    assert made[0].got == [({"loss": 1.0}, 0), ({"loss": 0.5}, 1)]


def test_a_folder_of_the_name_of_a_library_is_not_the_library(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "path" / "wandb").mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path")])
    shadowed = Patient(["wandb"], out, SETTINGS)
    with pytest.warns(DataWarning, match="wandb is not installed"):
        shadowed.close()


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_one_that_raises_is_dropped_and_the_others_go_on(out: Path, inject: Inject, kind: type[BaseException]) -> None:
    inject("mlflow", type("Raising", (Failing,), {"kind": kind}))
    made = inject("wandb", Recorder)
    with Patient(["mlflow", "wandb"], out, SETTINGS, resumed=True) as both:
        both.log({"loss": 1.0}, 0)
        wait_for("mlflow")
        with pytest.warns(DataWarning, match=r"tracker mlflow failed, .*: no space\\x1b\[2J left") as caught:
            both.log({"loss": 0.5}, 1)
        both.log({"loss": 0.25}, 2)
    assert len(caught) == 1
    (recorder,) = made
    assert [step for _, step in recorder.got] == [0, 1, 2]
    assert recorder.failed is False
    assert recorder.job.resumed
    assert recorder.job.settings["losses.balance.kind"] == "none"


def test_one_that_fails_while_it_is_made_is_dropped(out: Path, inject: Inject) -> None:
    def broken(job: Job) -> Recorder:
        raise ImportError("libcudart.so: cannot open")

    inject("tensorboard", broken)
    made = Patient(["tensorboard"], out, SETTINGS)
    with pytest.warns(DataWarning, match="tensorboard failed, .*libcudart"):
        made.close()
    made.log({"loss": 1.0}, 0)
    made.close()


def test_one_that_hangs_is_left_behind(out: Path, inject: Inject) -> None:
    hanging, recorders = inject("wandb", Hanging), inject("mlflow", Recorder)
    both = Trackers(["wandb", "mlflow"], out, SETTINGS)
    for step in range(3):
        both.log({"loss": 1.0}, step)
    with pytest.warns(DataWarning, match=r"tracker wandb did not end within 0\.2 s and was abandoned") as caught:
        both.close(0.2)
    assert len(caught) == 1
    assert [step for _, step in recorders[0].got] == [0, 1, 2]
    hanging[0].release.set()
    wait_for("wandb")


def test_one_whose_import_hangs_is_left_behind_and_freed_when_it_comes(out: Path, inject: Inject) -> None:
    release, freed = threading.Event(), threading.Event()

    def importing(job: Job) -> Recorder:
        release.wait()
        recorder = Recorder(job)
        recorder.abandon = freed.set  # type: ignore[method-assign]
        return recorder

    inject("tensorboard", importing)
    slow = Trackers(["tensorboard"], out, SETTINGS)
    with pytest.warns(DataWarning, match="tensorboard did not end"):
        slow.close(0)
    release.set()
    wait_for("tensorboard")
    assert freed.is_set()


def test_values_that_find_the_queue_full_are_counted(
    out: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "WAITING", 2)
    made = inject("wandb", Hanging)
    slow = Patient(["wandb"], out, SETTINGS)
    slow.log({"loss": 1.0, "P": 0.5}, 0)
    wait_until_made(made)
    made[0].entered.wait()
    for step in range(1, 6):
        slow.log({"loss": 1.0, "P": 0.5}, step)
    made[0].release.set()
    with pytest.warns(DataWarning, match="tracker wandb was too slow; 6 values were dropped"):
        slow.close()
    assert [step for _, step in made[0].got] == [0, 1, 2]


@pytest.mark.parametrize("length", [1, 1_000_000], ids=["waiting", "writing"])
def test_a_process_that_hangs_is_killed(
    out: Path, tmp_path: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    script = tmp_path / "hanging.py"
    script.write_text("import time\ntime.sleep(1e6)\n")
    monkeypatch.setattr(tracker_libraries, "SCRIPT", script)
    made = inject("mlflow", lambda job: ProcessTracker("mlflow", job))
    hanging = Trackers(["mlflow"], out, SETTINGS)
    hanging.log({"x" * length: 1.0}, 0)
    wait_until_made(made)
    with pytest.warns(DataWarning, match="abandoned"):
        hanging.close(0.2)
    wait_for("mlflow")
    assert made[0]._process.returncode == -9


def test_nothing_is_imported_and_no_thread_starts_without_names(out: Path) -> None:
    program = (
        "import sys, threading, pathlib\n"
        "from abawkit.training.trackers import Trackers\n"
        "with Trackers([], pathlib.Path('.'), {'a': 1}) as none:\n"
        "    none.log({'loss': 1.0}, 0)\n"
        "    assert threading.active_count() == 1\n"
        "assert not {'tensorboard', 'mlflow', 'wandb', 'torch.utils.tensorboard'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=out)
    assert list(out.iterdir()) == []
