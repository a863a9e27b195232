"""`make gpu`: every step is bounded and stops no other, what is wanted is judged, and its dry run runs on a CPU."""

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.curation.curated_set import open_curated
from abawkit.training.data import read_evaluation_rows, read_training_rows
from benchmarks.gpu.environment import make_environment, make_variables
from benchmarks.gpu.frames import write_set
from benchmarks.gpu.report import count_tests, format_summary, make_wanted, summarise
from benchmarks.gpu.runner import LEFT_OUT, Ran, Step, run_steps
from benchmarks.gpu.sanitize import KERNELS
from benchmarks.gpu.steps import TESTS, TOOLS, make_steps

ROOT = Path(__file__).parents[2]


def step(name: str, code: str, seconds: float = 60, **options: Any) -> Step:
    return Step(name, [sys.executable, "-S", "-c", code], seconds, **options)


def run(tmp_path: Path, *steps: Step, limit: float = 100) -> tuple[dict[str, Ran], str]:
    reported: list[int] = []
    with (tmp_path / "log").open("wb") as log:
        how: dict[str, Any] = {"limit": limit, "environment": {"SHARED": "1"}, "cwd": tmp_path}
        ran = run_steps(steps, tmp_path, log, **how, report=lambda found: reported.append(len(found)))
    assert reported == list(range(1, len(steps) + 1))
    return ran, (tmp_path / "log").read_text()


# --- running


def test_a_step_that_fails_stops_no_other(tmp_path: Path) -> None:
    result = tmp_path / "lines.jsonl"
    ran, log = run(
        tmp_path,
        step("fails", "import sys; print('first'); print('the reason\\n'); sys.exit(3)"),
        Step("absent", [str(tmp_path / "no-such-program")], 60),
        step("lacks", f"import sys; print('there is no such tool'); sys.exit({LEFT_OUT})"),
        step("broken", "print('{')", json_output=True),
        step("refused", "import sys; print('{}'); print('the cause', file=sys.stderr); sys.exit(2)", json_output=True),
        step(
            "json",
            "import os, sys; print('[' + os.environ['SHARED'] + ']'); print(os.environ['OWN'], file=sys.stderr)",
            json_output=True,
            environment={"OWN": "said aside"},
        ),
        step("lines", f"open({str(result)!r}, 'w').write('{{}}\\n2\\n')", results=result),
    )
    assert {name: (one.outcome, one.result) for name, one in ran.items()} == {
        "fails": ("failed", None),
        "absent": ("failed", None),
        "lacks": ("left out", None),
        "broken": ("failed", None),
        "refused": ("failed", None),
        "json": ("ok", [1]),
        "lines": ("ok", [{}, 2]),
    }
    assert ran["fails"].reason == "exit code 3: the reason"
    assert ran["refused"].reason == "exit code 2: the cause"
    assert ran["absent"].reason.endswith("no-such-program: No such file or directory")
    assert ran["lacks"].reason == "there is no such tool"
    assert ran["broken"].reason.startswith("left no result that can be read: ")
    for text in ("first\n", "the reason\n", "said aside\n", "=== json: ok, "):
        assert text in log
    assert "[1]" not in log


def test_a_step_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Also a child that does not heed SIGTERM. A shell, as it starts at once on a busy machine too."""
    code = """
(trap '' TERM; exec sleep 600) & echo $! > child
echo $$ > own
exec sleep 600
"""
    ran, log = run(tmp_path, Step("hangs", ["sh", "-c", code], 2), step("next", "print('ran')"))
    assert (ran["hangs"].outcome, ran["hangs"].reason) == ("timed out", "after 2 s")
    assert ran["next"].outcome == "ok"
    assert "ran\n" in log
    for name in ("own", "child"):
        assert is_gone(int((tmp_path / name).read_text()))


def is_gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has asked for is a zombie."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_what_there_is_no_time_for_is_left_out(tmp_path: Path) -> None:
    ran, _ = run(tmp_path, step("first", "pass"), step("second", "pass"), limit=1)
    assert {one.outcome for one in ran.values()} == {"left out"}
    assert ran["second"].reason == "1 s were over"


# --- the environment


def write_wheel(folder: Path) -> None:
    info = "offline_example-1.0.dist-info"
    files = {
        "offline_example.py": "NAME = 'of a wheel'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: offline-example\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "offline_example-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)


def test_the_environment_has_the_interpreters_packages_and_those_of_the_wheels(tmp_path: Path) -> None:
    write_wheel(tmp_path)
    python = make_environment(tmp_path / "environment", tmp_path)
    code = "import offline_example, torch, sys; print(offline_example.NAME, torch.__file__, sys.prefix, sep='\\n')"
    shown = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    name, torch_file, prefix = shown.stdout.splitlines()
    assert (name, prefix) == ("of a wheel", str(tmp_path / "environment"))
    import torch

    assert torch_file == torch.__file__
    with pytest.raises(ImportError):
        import offline_example  # type: ignore[import-not-found] # noqa: F401 - this interpreter's packages are as before
    assert make_variables(python)["PATH"].split(":")[:2] == [str(python.parent), str(Path(sys.executable).parent)]


def test_the_check_itself_needs_no_package() -> None:
    """They may lie in the folder of wheels."""
    command = [sys.executable, "-S", "-c", "import benchmarks.gpu.check"]
    subprocess.run(command, cwd=ROOT, check=True, env={})


# --- the steps


@pytest.mark.parametrize("dry", [False, True])
def test_the_steps_are_the_same_on_a_gpu_and_in_a_dry_run(tmp_path: Path, dry: bool) -> None:
    steps = make_steps("python", tmp_path / "work", tmp_path, dry=dry, workers=2)
    names = [one.name for one in steps]
    assert len(set(names)) == len(names)
    assert names == [one.name for one in make_steps("python", tmp_path, tmp_path, dry=not dry, workers=0)]
    assert {"build", "self_check", "tests", *TOOLS, "network", "epochs", "submission", "compiled"} <= set(names)
    devices = {part for one in steps for part in one.command if part in ("cpu", "cuda", "device=cpu", "device=cuda")}
    assert devices == ({"cpu", "device=cpu"} if dry else {"cuda", "device=cuda"})
    assert {one.command[0] for one in steps} == {"python"}


def test_a_promised_gpu_must_be_there(tmp_path: Path) -> None:
    steps = {one.name: one for one in make_steps("python", tmp_path, tmp_path, dry=False, workers=2)}
    assert steps["tests"].environment["ABAWKIT_REQUIRE_GPU"] == "1"


def test_every_test_for_gpus_is_run() -> None:
    marked = [path.relative_to(ROOT) for path in ROOT.glob("tests/**/*.py") if "mark.gpu" in path.read_text()]
    missed = [str(path) for path in marked if not any(path.is_relative_to(folder) for folder in TESTS)]
    assert [path for path in missed if path != "tests/benchmarks/test_gpu_check.py"] == []
    assert all((ROOT / folder).is_dir() for folder in TESTS)


def test_the_sanitizers_watch_every_kernel_of_ours() -> None:
    """They go by the namespace, which is a part of each kernel's mangled name."""
    name = KERNELS.removeprefix("kns=")
    for path in ROOT.glob("csrc/kernels/cuda/*.*"):
        text = path.read_text()
        if "__global__" in text:
            assert f"namespace {name}" in text[: text.index("__global__")], path


def test_the_large_set_can_be_trained_on_and_predicted(curated: Path, tmp_path: Path) -> None:
    write_set(open_curated(curated), tmp_path / "large", 210, 130)
    large = open_curated(tmp_path / "large")
    train, validation = read_training_rows(large, ("va", "expression", "au")), read_evaluation_rows(large, "validation")
    assert (len(train), len(validation)) == (210, 130)
    assert len(set(large.splits["validation"].annotations.images.to_pylist())) == 130
    source = open_curated(curated).open_frames()
    for row in (0, 129):
        assert np.array_equal(validation.pixels(np.array([row])), source.take(np.array([row % len(source)])))


# --- the report


def bench_row(work: str, images: int, **numbers: float) -> dict[str, Any]:
    ratios = {name: numbers.get(name) for name in ("to_eager", "to_compiled", "kernels_of_stream")}
    return {
        "work": work,
        "images": images,
        "milliseconds": {"native": 2.0},
        "kernels": {"native": numbers.get("kernel", 1.0)},
        "ratios": {"native": ratios},
    }


def results() -> dict[str, Any]:
    """What a GPU that copies 4 TB/s might leave: it would take 25.7 us for the features, half of that in bfloat16."""
    both = "training forward and backward"
    rows = [bench_row("evaluation", n, to_eager=12.0) for n in (1, 16)]
    rows += [bench_row("evaluation", 64, to_eager=9.0), bench_row(both, 256, to_eager=6.0)]
    return {
        "machine": {"device": "a GPU", "torch": "2.13.0", "copy_bytes_per_second": 4e12},
        "operator_float32": {"measured": [*rows, bench_row("evaluation", 1024, kernel=0.0513802240)]},
        "operator_bfloat16": {"measured": [bench_row("evaluation", 1024, kernel=0.0171267413)]},
        "network": {
            "rows": [
                {
                    "layout": "channels_last",
                    "precision": "bfloat16",
                    "ops": "native",
                    "images": 256,
                    "training_images_per_second": 4000.0,
                    "evaluation_images_per_second": 20000.0,
                },
                {"layout": "contiguous", "precision": "float32", "ops": "native", "images": 64, "reason": "not built"},
            ]
        },
        "compiled": {"measured": [bench_row(both, 256, to_compiled=1.9)]},
        "epochs": [{"seconds": 12.0, "images_per_second": 4346.2}, {"seconds": 7.5, "images_per_second": 6953.9}],
    }


def test_what_is_wanted_is_judged_by_what_was_measured(tmp_path: Path) -> None:
    ran = {name: Ran("ok", 1.0, result=result) for name, result in results().items()}
    ran["submission"] = Ran("ok", 10.5)
    judged = {w["name"]: (w["measured"], w["met"]) for w in summarise(ran, tmp_path / "none", dry=False)["wanted"]}
    share, both = "evaluation, N = 1,024, {}: share of the copy rate", "training forward and backward, N = 256, {}"
    assert judged == {
        share.format("float32"): (pytest.approx(0.5), False),
        share.format("bfloat16"): (pytest.approx(0.75), True),
        "evaluation, N = 1, float32: x eager": (12.0, True),
        "evaluation, N = 16, float32: x eager": (12.0, True),
        "evaluation, N = 64, float32: x eager": (9.0, False),
        **{f"evaluation, N = {n}, bfloat16: x eager": (None, None) for n in (1, 16, 64)},
        both.format("float32: x eager"): (6.0, True),
        both.format("bfloat16: x eager"): (None, None),
        both.format("float32: x torch.compile"): (1.9, False),
        "an epoch over 52,154 frames": (7.5, True),
        "51,159 packed frames to a submission": (10.5, False),
    }


@pytest.mark.parametrize("missing", ["machine", "operator_float32", "compiled", "epochs"])
def test_what_a_step_did_not_leave_is_not_judged(missing: str) -> None:
    left = {name: result for name, result in results().items() if name != missing}
    before, after = ([w.judge(r)["met"] for w in make_wanted()] for r in (results(), left))
    assert before != after
    assert all(a in (b, None) for a, b in zip(after, before, strict=True))


def test_an_epoch_of_other_rows_is_not_the_one_that_is_wanted() -> None:
    few = results() | {"epochs": [{"seconds": 1.0, "images_per_second": 64.0}]}
    (epoch,) = (w.judge(few) for w in make_wanted() if w.name.startswith("an epoch"))
    assert (epoch["measured"], epoch["met"]) == (None, None)


def test_the_summary_can_be_read_and_says_what_was_missed(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite tests="9" failures="1" errors="0" skipped="2"/></testsuites>'
    )
    ran = {name: Ran("ok", 1.0, result=result) for name, result in results().items()}
    ran["racecheck"] = Ran("failed", 2.0, "exit code 9: ERROR SUMMARY: 3 errors")
    lines = format_summary(summarise(ran, tmp_path / "tests.xml", dry=False)).splitlines()
    assert lines[0].split() == ["step", "outcome", "took"]
    assert "racecheck          failed   2.0 s  exit code 9: ERROR SUMMARY: 3 errors" in lines
    assert "a GPU, torch 2.13.0, copies 4.000 TB/s (read and written)" in lines
    assert "tests: 9 tests, 1 failures, 0 errors, 2 skipped" in lines
    (missed,) = (line for line in lines if line.startswith("evaluation, N = 64, float32"))
    assert missed.split()[-7:] == ["at", "least", "10", "x", "9", "x", "MISSED"]
    (measured,) = (line for line in lines if line.startswith("bfloat16"))
    assert measured.split() == ["bfloat16", "evaluation", "1,024", "2", "0.0171", "-", "-"]
    (network,) = (line for line in lines if line.startswith("channels_last"))
    assert network.split() == ["channels_last", "bfloat16", "native", "256", "20,000", "64.0"]
    assert count_tests(tmp_path / "absent") is None


# --- the dry run


@pytest.mark.slow
def test_a_dry_run_runs_its_steps_and_leaves_a_summary(tmp_path: Path) -> None:
    """Not all of them: `make gpu DRY=1` does, which takes minutes."""
    names = ["release", "curate", "frames", "memcheck", "kernels"]
    command = [sys.executable, "-m", "benchmarks.gpu.check", "--dry", "--out", str(tmp_path), "--only", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {name: s["outcome"] for name, s in summary["steps"].items()} == dict.fromkeys(names, "ok")
    assert [row["images"] for row in summary["results"]["kernels"]["kernels"]] == [4, 4]
    assert summary["wanted"] == []
    assert done.stdout.strip() == (tmp_path / "summary.txt").read_text().strip()
    assert "behind an odd address" in (tmp_path / "log.txt").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.txt", "summary.json", "summary.txt"]


def test_one_that_is_ended_ends_its_step_and_leaves_what_was_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu.check", "--dry", "--out", str(tmp_path), "--only"]
    process = subprocess.Popen([*command, "release", "kernels"], cwd=ROOT, stdout=subprocess.PIPE)
    for _ in range(1200):
        if (tmp_path / "summary.json").exists() and (tmp_path / "work/kernels.err").exists():
            break
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"]["release"]["outcome"] == "ok"
    assert not (tmp_path / "work").exists()


def test_an_unknown_step_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu.check", "--dry", "--out", str(tmp_path), "--only", "biuld"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("--only: no step is called biuld; build, machine, ops, ")
