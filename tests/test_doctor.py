"""What `abawkit doctor` finds, and the line that mends it."""

import sys
from collections import namedtuple
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from abawkit import doctor
from abawkit.doctor import Finding, check_installation, read_cpu_quota
from abawkit.ops import registry
from abawkit.ops.reference import Reference
from abawkit.system.native_build import NotBuiltError


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": ""}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "50000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_both_versions_of_control_groups(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_cpu_quota(tmp_path) == expected


def test_a_quota_below_the_processors_says_how_many_threads_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "read_cpu_quota", lambda _: 2.0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    quota = by_name(check_installation(Path.cwd()))["CPU quota"]
    assert not quota.ok
    assert "OMP_NUM_THREADS=2" in quota.fix


def test_everything_that_is_wrong_has_a_line_that_mends_it_and_nothing_else_has(tmp_path: Path) -> None:
    findings = check_installation(tmp_path)
    assert {"abawkit", "Python", "torch", "JPEG decoder", "processors", "CPU quota", "disk", "shared memory"} <= set(
        by_name(findings)
    )
    assert all(finding.ok is not bool(finding.fix) for finding in findings)
    assert by_name(findings)["JPEG decoder"].ok


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def version(name: str) -> str:
        if name == "pydantic":
            raise PackageNotFoundError(name)
        return installed_version(name)

    monkeypatch.setattr(doctor, "version", version)
    found = by_name(check_installation(tmp_path))
    assert found["pydantic"] == Finding("pydantic", "not installed", False, "pip install pydantic -c constraints.txt")
    assert found["numpy"].ok


@pytest.mark.parametrize("error", ["OSError('libtorch.so: cannot open')", "RuntimeError()", "ImportError('no torch')"])
def test_a_torch_that_can_not_be_imported_does_not_end_the_other_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str
) -> None:
    (tmp_path / "torch.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = by_name(check_installation(tmp_path))
    assert not found["torch works"].ok
    assert found["torch works"].found.startswith("no: ")
    assert "pip install --force-reinstall torch" in found["torch works"].fix
    assert found["operators"].ok
    assert found["operators"].found.startswith("not checked: ")
    assert "disk" in found


def test_a_torch_that_loads_weights_unsafely_is_not_good_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = ModuleType("torch")
    vars(old).update(
        __version__="2.9.1+cpu", get_num_threads=lambda: 1, cuda=SimpleNamespace(is_available=lambda: False)
    )
    vars(old).update(version=SimpleNamespace(cuda=None))
    monkeypatch.setitem(sys.modules, "torch", old)
    found = by_name(check_installation(tmp_path))["torch works"]
    assert not found.ok
    assert found.fix == "pip install 'torch>=2.10'"


def test_a_gpu_that_torch_is_not_built_for_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)
    assert by_name(check_installation(tmp_path))["GPU"] == Finding("GPU", "none; training runs on the CPU")
    monkeypatch.setattr(doctor, "find_gpus", lambda: [(9, 0)])
    found = by_name(check_installation(tmp_path))["GPU"]
    assert not found.ok
    assert found.found.endswith("is a build for CPUs")
    assert found.fix == "install a build of torch for CUDA, then run `abawkit ops build`"


def test_a_decoder_that_fails_is_found_by_decoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise OSError("libturbojpeg.so.0: no such file")

    monkeypatch.setattr("abawkit.frames.decode.decode", fails)
    decoder = by_name(check_installation(tmp_path))["JPEG decoder"]
    assert not decoder.ok
    assert "libturbojpeg.so.0" in decoder.found


@pytest.mark.parametrize(
    ("free", "disk", "memory"), [(10**10, True, True), (10**9, False, True), (10**6, False, False)]
)
def test_small_disks_and_small_shared_memory_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, disk: bool, memory: bool
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**12, 0, free))
    found = by_name(check_installation(tmp_path))
    assert (found["disk"].ok, found["shared memory"].ok) == (disk, memory)


def offer(name: str, package: str, error: str = "", priority: int = 0) -> registry.Offer:
    made = None if error else type("Made", (Reference,), {"name": name})()
    return registry.Offer(name, package, "", priority, made, error)


OLD_GPU = "the CUDA kernels need a GPU of compute capability 8.0 or later, this one has 7.5"


@pytest.mark.parametrize(
    ("offers", "found", "mend"),
    [
        ([offer("native", "abawkit 1")], "native on cpu", ""),
        (
            [offer("reference", "abawkit 1"), offer("native", "abawkit 1", "not built: no compiler")],
            "reference on cpu; not native: not built: no compiler",
            "abawkit ops build",
        ),
        (
            [offer("reference", "abawkit 1"), offer("native", "abawkit 1", "it is for torch 2.9")],
            "reference on cpu; not native: it is for torch 2.9",
            "abawkit ops build",
        ),
        (
            [offer("reference", "abawkit 1"), offer("native", "abawkit 1", OLD_GPU)],
            f"reference on cpu; not native: {OLD_GPU}",
            "",  # no build changes it
        ),
        (
            [offer("reference", "abawkit 1"), offer("vendor/x", "x 1", "no module named y")],
            "reference on cpu; not vendor/x: no module named y",
            "update x 1, or uninstall it",
        ),
    ],
)
def test_the_operators_line_says_what_runs_and_mends_what_can_be_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offers: list[registry.Offer], found: str, mend: str
) -> None:
    monkeypatch.delenv("ABAWKIT_OPS", raising=False)
    monkeypatch.setattr(doctor, "find_programs", dict)
    registry.refresh()
    with monkeypatch.context() as patched:
        patched.setattr(registry, "_load_offers", lambda _: tuple(offers))
        patched.setattr("torch.cuda.is_available", lambda: False)
        line = by_name(check_installation(tmp_path))["operators"]
    registry.refresh()
    assert line == Finding("operators", found, not mend, mend)


def test_what_compiling_needs_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def find_programs() -> None:
        raise NotBuiltError("not found: a C++ compiler; install it")

    monkeypatch.delenv("ABAWKIT_OPS", raising=False)
    monkeypatch.setattr(doctor, "find_programs", find_programs)
    registry.refresh()
    with monkeypatch.context() as patched:
        offers = (offer("reference", "abawkit 1"), offer("native", "abawkit 1", "not built"))
        patched.setattr(registry, "_load_offers", lambda _: offers)
        line = by_name(check_installation(tmp_path))["operators"]
    registry.refresh()
    assert line.fix == "not found: a C++ compiler; install it, then run `abawkit ops build`"


def test_a_folder_that_can_not_be_written_to_is_found_by_writing(tmp_path: Path) -> None:
    """Permissions don't tell: nobody can write to /proc, root included, although its mode says otherwise."""
    assert by_name(check_installation(tmp_path))["folder"] == Finding("folder", f"{tmp_path} can be written to")
    found = by_name(check_installation(Path("/proc")))["folder"]
    assert not found.ok
    assert found.found.startswith("/proc can't be written to: ")
    assert found.fix == "give another folder with --folder, or make this one writable"


def test_a_cache_and_a_folder_for_temporary_files_that_can_not_be_written_to_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    found = by_name(check_installation(tmp_path))
    assert (found["cache"].ok, found["temporary files"].ok) == (False, False)
    assert found["cache"].found == f"{tmp_path / 'file'} can't be written to: Not a directory"
    assert "XDG_CACHE_HOME" in found["cache"].fix
    assert "TMPDIR" in found["temporary files"].fix


def test_a_package_that_is_too_old_is_not_good_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "requires", lambda _: ["pandas>=2.2", "numpy>=2.0", 'wandb>=0.18; extra == "wandb"'])
    monkeypatch.setattr(doctor, "version", {"pandas": "2.1.4", "numpy": "2.0.0rc1"}.get)
    pandas, numpy = doctor._check_package("pandas"), doctor._check_package("numpy")
    assert (pandas.found, pandas.ok) == ("2.1.4, older than 2.2", False)
    assert pandas.fix.startswith("pip install 'pandas>=2.2'")
    assert numpy.ok


def test_an_implementation_that_the_environment_names_and_that_can_not_run_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ABAWKIT_OPS", "nope")
    line = by_name(check_installation(tmp_path))["operators"]
    assert not line.ok
    assert line.found == "none: ABAWKIT_OPS=nope: no installed package offers this implementation"
    assert line.fix == "unset ABAWKIT_OPS, or name one that runs"
