"""Builds of `abawkit ops build`: what they are compiled for, where they lie, and which of them is used."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import abawkit
from abawkit.errors import ConfigError
from abawkit.ops import native_library as binary
from abawkit.system import native_cache
from abawkit.system.files import sha256
from abawkit.system.native_build import LIBRARY, NotBuiltError, Torch
from abawkit.system.native_cache import (
    Build,
    Plan,
    build_native,
    find_build,
    find_builds_folder,
    find_usable_build,
    is_built,
    name_build_folder,
    plan_build,
)

HERE = torch.__version__
FACTS = {"abawkit": abawkit.__version__, "torch": HERE, "cuda": "", "cuda_architectures": "", "compiler": "GNU 12"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing that was found in another one."""

    def forget() -> None:
        for function in (binary.load, binary.read_build_facts, binary.find_cached_build):
            function.cache_clear()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("ABAWKIT_CUDA", "ABAWKIT_CUDA_ARCHITECTURES"):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield tmp_path / "cache"
    monkeypatch.undo()
    forget()


def store(version: str = HERE, content: bytes = b"a library", **changed: str) -> Build:
    """A build in the cache, as `build_native` leaves it."""
    folder = name_build_folder(version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / LIBRARY).write_bytes(content)
    facts = {**FACTS, "torch": version, **changed}
    stored = {"format": 1, "facts": facts, "sources": native_cache.digest_sources(), "sha256": sha256(content)}
    (folder / "facts.json").write_text(json.dumps(stored))
    build = find_build(version)
    assert build is not None
    return build


# --- which build is used


def test_a_build_of_this_torch_comes_before_an_older_binary_of_the_package() -> None:
    before = binary.read_build_facts()
    binary.read_build_facts.cache_clear()
    binary.find_cached_build.cache_clear()
    build = store(compiler="GNU 99")
    assert build.refusal() == ""
    assert binary.read_build_facts()["compiler"] == "GNU 99" != before.get("compiler")
    assert binary.find_binary() == build.library


def test_of_a_build_and_the_binary_of_the_package_the_newer_one_is_used(tmp_path: Path) -> None:
    build = store()
    packaged = tmp_path / LIBRARY
    assert find_usable_build(HERE, packaged) == build  # the package has none
    packaged.touch()
    for age, used in ((100, build), (-100, None)):
        made = build.library.stat().st_mtime - age
        os.utime(packaged, (made, made))
        assert find_usable_build(HERE, packaged) == used


def test_each_torch_has_its_own_build() -> None:
    first, second = store("2.12.0", b"one"), store("2.13.0+cu128", b"two")
    assert first.folder != second.folder
    assert (first.library.read_bytes(), second.library.read_bytes()) == (b"one", b"two")
    assert find_build("2.14.0") is None
    assert native_cache.list_built_versions() == ["2.12.0", "2.13.0+cu128"]


@pytest.fixture
def pure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package without a binary of its own."""
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(binary, "FOLDER", tmp_path / "package")
    monkeypatch.setitem(__import__("sys").modules, "abawkit.ops._build", None)
    return tmp_path / "package"


def test_after_an_upgrade_of_torch_the_reason_names_what_there_is_and_the_command(pure: Path) -> None:
    (pure / "build_note.txt").write_text("torch was not found when abawkit was built; run `abawkit ops build`")
    assert binary.load() == "not built: torch was not found when abawkit was built; run `abawkit ops build`"
    store("2.10.0")
    binary.load.cache_clear()
    assert binary.load() == f"not built for torch {HERE}, only for 2.10.0; build: abawkit ops build"


def spoil_library(build: Build) -> None:
    build.library.write_bytes(b"half of it")


def remove_library(build: Build) -> None:
    build.library.unlink()


def edit_facts(**changed: Any) -> Callable[[Build], None]:
    def edit(build: Build) -> None:
        path = build.folder / "facts.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, **changed}))

    return edit


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (edit_facts(sources="0" * 64), "is of another abawkit"),
        (edit_facts(facts={**FACTS, "abawkit": "0.0.9"}), "is of another abawkit"),
        (spoil_library, "is damaged (its SHA-256 differs)"),
        (remove_library, "can't be read (No such file or directory)"),
    ],
    ids=["other sources", "other version", "damaged", "absent"],
)
def test_a_build_that_is_stale_or_damaged_is_not_loaded_and_the_command_is_named(
    pure: Path, spoil: Callable[[Build], None], reason: str
) -> None:
    build = store()
    spoil(build)
    assert binary.find_cached_build() is None
    assert binary.load() == f"the build in {build.folder} {reason}; rebuild: abawkit ops build"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": 1, "facts": 3}', '{"format": 2, "facts": {}}', "["]
)
def test_facts_that_are_none_are_no_build(text: str) -> None:
    build = store()
    (build.folder / "facts.json").write_text(text)
    assert find_build(HERE) is None


# --- what is compiled


def machine(monkeypatch: pytest.MonkeyPatch, cuda: str | None, *gpus: tuple[int, int]) -> None:
    monkeypatch.setattr(native_cache, "find_torch", lambda: Torch(Path("/torch"), HERE, cuda))
    monkeypatch.setattr(native_cache, "find_gpus", lambda: list(gpus))


@pytest.mark.parametrize(
    ("cuda", "gpus", "options"),
    [
        (None, [], {"ABAWKIT_CUDA": "skip"}),
        (None, [(9, 0)], {"ABAWKIT_CUDA": "skip"}),  # this torch can't use it
        ("12.8", [], {"ABAWKIT_CUDA": "auto"}),
        ("12.8", [(7, 5)], {"ABAWKIT_CUDA": "auto"}),  # there are no kernels for it
        ("12.8", [(9, 0)], {"ABAWKIT_CUDA": "require", "ABAWKIT_CUDA_ARCHITECTURES": "90"}),
        ("13.0", [(7, 5), (8, 6), (12, 0)], {"ABAWKIT_CUDA": "require", "ABAWKIT_CUDA_ARCHITECTURES": "86;120"}),
    ],
)
def test_it_compiles_for_the_torch_and_the_gpus_that_are_there(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, gpus: list[tuple[int, int]], options: dict[str, str]
) -> None:
    machine(monkeypatch, cuda, *gpus)
    assert plan_build().options == options


def test_an_option_comes_before_the_environment_and_that_before_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "12.8", (9, 0))
    monkeypatch.setenv("ABAWKIT_CUDA", "auto")
    monkeypatch.setenv("ABAWKIT_CUDA_ARCHITECTURES", "80;90")
    assert plan_build().options == {"ABAWKIT_CUDA": "auto"}  # architectures go on from the environment
    assert plan_build("skip").options == {"ABAWKIT_CUDA": "skip"}


def test_machines_that_share_a_home_keep_each_others_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    store(cuda="12.8", cuda_architectures="80")
    machine(monkeypatch, "12.8", (9, 0))
    plan = plan_build()
    assert plan.options["ABAWKIT_CUDA_ARCHITECTURES"] == "80;90"
    assert is_built(plan) is None
    store(cuda="12.8", cuda_architectures="80 90")
    assert is_built(plan_build()) is not None


# --- compiling


@pytest.fixture
def plan() -> Plan:
    return Plan(Torch(Path("/torch"), HERE, None), [], {"ABAWKIT_CUDA": "skip"}, "")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the compiler; holds what it is to do, and what it was asked."""
    state: dict[str, Any] = {"content": b"new", "error": None}

    def compile_operators(sources: Path, target: Path, *_: object, **asked: object) -> str:
        state.update(asked, sources=sources)
        if state["error"]:
            raise state["error"]
        (target / LIBRARY).write_bytes(state["content"])
        return "said"

    monkeypatch.setattr(native_cache, "compile_operators", compile_operators)
    monkeypatch.setattr(native_cache, "_load", lambda _: dict(FACTS))
    return state


def test_a_build_is_there_whole_with_the_digests_of_what_it_is_made_of(plan: Plan, compiled: dict[str, Any]) -> None:
    build = build_native(plan, jobs=2)
    assert build.refusal() == ""
    assert build.library.read_bytes() == b"new"
    assert (compiled["jobs"], compiled["options"]) == (2, {"ABAWKIT_CUDA": "skip"})
    assert (compiled["sources"] / "csrc/kernels/dda.h").is_file()
    assert is_built(plan) == build
    assert [path.name for path in find_builds_folder().iterdir() if path.name != "lock"] == [build.folder.name]


def test_what_does_not_compile_leaves_the_build_that_was_there_and_its_output(
    plan: Plan, compiled: dict[str, Any]
) -> None:
    before = build_native(plan)
    compiled["error"] = NotBuiltError("`cmake --build` failed: x.cpp:1:1: error: no", "all that it said")
    with pytest.raises(NotBuiltError) as error:
        build_native(plan)
    log = find_builds_folder() / "build.log"
    assert str(error.value) == f"`cmake --build` failed: x.cpp:1:1: error: no\nthe whole output: {log}"
    assert log.read_text() == "all that it said"
    assert find_build(HERE) == before
    assert before.library.read_bytes() == b"new"
    compiled.update(error=None, content=b"newer")
    assert build_native(plan).library.read_bytes() == b"newer"
    assert not log.exists()


def test_what_can_not_be_loaded_replaces_nothing(
    plan: Plan, compiled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_native(plan)

    def load(_: Path) -> dict[str, str]:
        raise NotBuiltError("what was compiled can't be loaded: undefined symbol", "all")

    monkeypatch.setattr(native_cache, "_load", load)
    compiled["content"] = b"broken"
    with pytest.raises(NotBuiltError, match="undefined symbol"):
        build_native(plan)
    assert (name_build_folder(HERE) / LIBRARY).read_bytes() == b"new"


@pytest.mark.parametrize("base", ["/proc", "file"])
def test_a_cache_that_can_not_be_written_to_is_named_with_the_variable_that_moves_it(
    plan: Plan, compiled: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / base))  # /proc stays as it is
    with pytest.raises(ConfigError, match=r"abawkit/native: can't be written to \(.*XDG_CACHE_HOME$"):
        build_native(plan)


def test_two_at_once_are_one_too_many_and_what_a_killed_one_left_is_removed(
    plan: Plan, compiled: dict[str, Any]
) -> None:
    left = find_builds_folder() / ".building-killed"
    left.mkdir(parents=True)
    with (find_builds_folder() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another `abawkit ops build` is at work; wait until it has ended"):
            build_native(plan)
        assert left.is_dir()
    build_native(plan)
    assert not left.exists()
