"""Two commands with one output: one of them writes it. And ``--force`` replaces its own kind, wholly, nothing else."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.system.files import OWN, find_workspace
from abawkit.system.locks import hold_lock
from tests.commands import Started

Run = Callable[..., subprocess.CompletedProcess[str]]
Command = tuple[str, list[object]]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def material(
    release: Path, curated: Path, runs: list[Path], submission: Path, test_list: list[str], truth: Path
) -> dict[str, Command]:
    """For each command that writes, the name of its output and its arguments but for that."""
    probabilities = submission.with_suffix(".npz")
    return {
        "synth": ("release", ["synth", "--size", "tiny", "--labels-only"]),
        "curate": ("curated", ["curate", release, "--labels-only", "--policy", "per-task"]),
        "train": ("run", ["train", "demo", "--data", curated, "--set", "all.epochs=1"]),
        "predict": ("predictions.txt", ["predict", *runs, *test_list]),
        "predict abaw3": ("predictions", ["predict", *runs, *test_list, "--format", "abaw3-va"]),
        "ensemble": ("predictions.txt", ["ensemble", probabilities]),
        "smooth": ("smoothed.npz", ["smooth", probabilities]),
        "tune": ("rule.json", ["tune", probabilities, "--truth", truth]),
        "calibrate": ("rule.json", ["calibrate", probabilities, "--truth", truth]),
        "check": ("repaired.txt", ["check", submission, *test_list[:2]]),
        "features": ("features", ["features", runs[0], "--data", curated]),
        "import-weights": ("w.safetensors", ["import-weights", submission]),
        "export": ("network.pt2", ["export", runs[0], "--to", "torch"]),
        "demo": ("demo", ["demo", "--size", "tiny"]),
        "ablate": ("ablation", ["ablate", "--size", "tiny"]),
    }


NAMES = [
    *("synth", "curate", "train", "predict", "predict abaw3", "ensemble", "smooth", "tune", "calibrate", "check"),
    *("features", "import-weights", "export", "demo", "ablate"),
]
WITHOUT_FORCE = ("ablate",)  # its --force is about what it trains anew


def to(command: Command, out: Path) -> list[object]:
    """The command line that writes `out`."""
    name, *rest = command[1]
    if name == "synth":
        return [name, out, *rest]
    return [name, *rest, "--repair" if name == "check" else "--out", out]


def content(path: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, by its name in it."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_what_another_command_is_writing_is_refused_before_any_work(
    run: Run, material: dict[str, Command], tmp_path: Path, name: str
) -> None:
    out = tmp_path / material[name][0]
    base, prefix = find_workspace(out)
    lock = base / f"{prefix}.lock"
    command = to(material[name], out)
    if name == "train":  # whose lock is in its folder, as it can be taken up there
        out.mkdir()
        lock, command = out / "lock", [*command, "--force"]
    with hold_lock(lock, out):
        before = content(tmp_path)
        said = run(*command, code=2).stderr
        assert f"{out}: a run is writing here (process {os.getpid()} on " in said
        assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["curate", "synth", "predict", "tune"])
def test_of_three_at_once_one_writes_and_says_so(material: dict[str, Command], tmp_path: Path, name: str) -> None:
    out = tmp_path / material[name][0]
    started = [Started(*to(material[name], out), "--json") for _ in range(3)]
    ended = [process.wait() for process in started]
    assert sorted(process.returncode for process in ended) == [0, 2, 2], ended
    for process in ended:
        if process.returncode:
            reasons = ("a run is writing here", "exists already", "is not empty")
            assert any(reason in process.stderr for reason in reasons)
    assert not [entry for entry in tmp_path.iterdir() if OWN in entry.name]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_FORCE])
@pytest.mark.parametrize("thing", ["somebody's", "empty"])
def test_force_replaces_its_own_kind_alone(
    run: Run, material: dict[str, Command], tmp_path: Path, name: str, thing: str
) -> None:
    out = tmp_path / material[name][0]
    if out.suffix:
        out.write_text("my thesis\n" if thing == "somebody's" else "")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("my thesis\n")
        if thing == "empty":
            return
    if thing == "empty" and name in ("import-weights", "check"):
        return  # what they read is not to be imported, or has nothing to repair
    before = content(tmp_path)
    if thing == "empty":
        run(*to(material[name], out), "--force")
        return
    said = run(*to(material[name], out), "--force", code=2).stderr
    assert "--force does not replace it" in said
    assert str(out) in said
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["curate", "synth", "train", "demo", "ablate"])
@pytest.mark.parametrize("above", [False, True])
def test_a_home_is_never_an_output(
    run: Run, material: dict[str, Command], tmp_path: Path, name: str, above: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "me").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home / "me" if above else home))
    (tmp_path / "link").symlink_to(home)
    for out in (home, tmp_path / "link", home / "me" / ".."):
        assert "is a home, or holds one" in run(*to(material[name], out), "--force", code=2).stderr
    assert "is the root of all files" in run(*to(material[name], Path("/")), "--force", code=2).stderr
    assert content(tmp_path) == {}


def test_a_device_is_not_written_over(run: Run, material: dict[str, Command], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rule.json")
    said = run(*to(material["tune"], tmp_path / "rule.json"), "--force", code=2).stderr
    assert "is a device or a pipe" in said
    assert (tmp_path / "rule.json").is_fifo()


def test_a_link_that_leads_nowhere_is_not_replaced_without_force(
    run: Run, material: dict[str, Command], tmp_path: Path
) -> None:
    (tmp_path / "rule.json").symlink_to("elsewhere.json")
    assert "exists already" in run(*to(material["tune"], tmp_path / "rule.json"), code=2).stderr
    assert (tmp_path / "rule.json").is_symlink()


def test_force_replaces_wholly(run: Run, release: Path, curated: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(release, tmp_path / "out"))
    run("synth", out, "--size", "tiny", "--labels-only", "--force")
    assert not list(out.rglob("*.jpg"))
    copy = Path(shutil.copytree(curated, tmp_path / "curated"))
    run("curate", release, "--out", copy, "--policy", "per-task", "--labels-only", "--force")
    assert sorted(content(copy)) == ["dropped.csv", "ledger.json", "table.parquet"]


def test_what_is_more_than_its_own_kind_is_not_replaced(
    run: Run, release: Path, curated: Path, runs: list[Path], tmp_path: Path
) -> None:
    def refused(*arguments: object) -> str:
        return run(*arguments, "--force", code=2).stderr

    (tmp_path / "licensed").mkdir()
    for name in ("training_set_annotations.txt", "validation_set_annotations.txt"):
        (tmp_path / "licensed" / name).write_text("image\n")
    assert "holds no held_out/test_set_annotations.txt" in refused("synth", tmp_path / "licensed")
    run("curate", release, "--out", tmp_path / "set", "--labels-only")
    (tmp_path / "set/notes.md").write_text("mine")
    assert "holds 'notes.md'" in refused("curate", release, "--out", tmp_path / "set")
    assert "holds 'batches.png'" in refused("curate", release, "--out", runs[0])
    assert "holds 'dropped.csv'" in refused("train", "demo", "--data", curated, "--out", tmp_path / "set")


def test_what_is_read_is_not_replaced_with_the_folder_around_it(run: Run, release: Path, tmp_path: Path) -> None:
    run("curate", release, "--out", tmp_path / "set")
    said = run(
        *("curate", release, "--frames", tmp_path / "set/frames", "--max-missing", 1, "--out", tmp_path / "set"),
        *("--force",),
        code=2,
    ).stderr
    assert "would replace what is read from" in said


def test_the_answer_of_another_list_is_not_taken_for_a_submission(
    run: Run, material: dict[str, Command], test_list: list[str], truth: Path, tmp_path: Path
) -> None:
    for source in (Path(test_list[1]), truth):
        out = tmp_path / source.name
        out.write_bytes(source.read_bytes())
        assert "is not a submission" in run(*to(material["ensemble"], out), "--force", code=2).stderr
        assert out.read_bytes() == source.read_bytes()


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_half_made(tmp_path: Path, number: signal.Signals) -> None:
    process = begin_drawing(tmp_path)
    process.send_signal(number)
    assert process.wait().returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_what_a_killed_command_left_is_taken_over(run: Run, tmp_path: Path) -> None:
    process = begin_drawing(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    assert (
        "was left by a run that was killed" in run("synth", tmp_path / "out", "--size", "tiny", "--labels-only").stderr
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def begin_drawing(folder: Path) -> Started:
    """A command that has begun to write its output, which would take long."""
    process = Started("synth", folder / "out", "--workers", "1")
    while not list(folder.rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.05)
    return process
