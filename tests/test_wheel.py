"""What is handed out: a wheel and an sdist, and what is in them. `tests/check_distribution.py` runs them too."""

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from types import ModuleType

import pytest

import abawkit
from abawkit.system.shipped import NATIVE, SUBMISSIONS

ROOT = Path(__file__).parents[1]
SHIPPED = ("baseline", "demo", "paper-classifier", "paper-finetuned", "paper-single-tasks", "strong", "temporal")

pytestmark = pytest.mark.e2e

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which a submission was run and sent."""
    copy = tmp_path_factory.mktemp("source") / "abawkit"
    unwanted = shutil.ignore_patterns("*.so", "build_note.txt", "__pycache__", "outputs")
    for name in ("abawkit", "csrc", "docs", "submissions"):
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    for path in (*ROOT.glob("*.toml"), *ROOT.glob("*.md"), *ROOT.glob("*.txt"), ROOT / "setup.py"):
        shutil.copy(path, copy)
    for name in ("MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "submissions/demo/outputs").mkdir()
    for name in ("demo/outputs/rule.json", "demo/manifest.json", "ledger.jsonl"):
        (copy / "submissions" / name).write_text("{}")
    return copy


def build(source: Path, hook: str, path: str, **variables: str) -> tuple[Path, str]:
    """What a frontend calls in an environment that has setuptools: the file, and what was said."""
    clean = {name: value for name, value in os.environ.items() if name != "CXX" and not name.startswith("ABAWKIT_")}
    shutil.rmtree(source / "build", ignore_errors=True)
    result = subprocess.run(
        [sys.executable, "-c", BUILD, hook, str(source / "dist")],
        capture_output=True,
        text=True,
        env={**clean, "PATH": path, **variables},
        cwd=source,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return source / "dist" / result.stdout.splitlines()[-1], result.stderr


@pytest.fixture(scope="module")
def pure(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A wheel that was built where there is no compiler, and what was said."""
    return build(source, "build_wheel", str(tmp_path_factory.mktemp("bin")))


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return file.namelist()


def metadata(wheel: Path) -> "Message[str, str]":
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(file.read(name).decode())


def test_a_wheel_without_native_operators_is_for_every_python_and_says_so_at_the_end(pure: tuple[Path, str]) -> None:
    wheel, said = pure
    assert wheel.name == f"abawkit-{abawkit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/WHEEL"))
        assert "Root-Is-Purelib: true" in file.read(name).decode().splitlines()
    assert said.splitlines()[-1] == (
        "abawkit: this wheel is pure Python, without native operators: not found: a C++ compiler; install it, then run "
        "`abawkit ops build`"
    )


def test_it_holds_the_native_sources_and_the_submissions_and_nothing_that_a_run_left(pure: tuple[Path, str]) -> None:
    names = names_in(pure[0])
    assert not [name for name in names if name.endswith(".so")]
    sources = [path for name in NATIVE for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
    submissions = [path for name in SHIPPED for path in (ROOT / SUBMISSIONS / name).iterdir()]
    expected = {
        f"abawkit/shipped/{path.relative_to(ROOT)}"
        for path in (*sources, *submissions, ROOT / SUBMISSIONS / "README.md")
        if path.suffix in (".txt", ".h", ".cpp", ".cu", ".md", ".toml", ".cuh")
    }
    assert {name for name in names if name.startswith("abawkit/shipped/")} == expected
    assert {f"abawkit/training/recipes/{name}.toml" for name in ("baseline", "demo", "paper")} <= set(names)


def test_a_wheel_with_native_operators_is_for_this_python_and_system_alone(source: Path, tmp_path: Path) -> None:
    from tests.cli.test_ops_build import machine

    wheel, said = build(source, "build_wheel", machine(tmp_path)["PATH"])
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_")
    assert wheel.name == f"abawkit-{abawkit.__version__}-{tag}-{tag}-{platform}.whl"
    assert "abawkit/ops/libabawkit_operators.so" in names_in(wheel)
    assert "abawkit: " not in said


def test_the_sdist_holds_all_that_a_wheel_is_made_of(source: Path) -> None:
    sdist, _ = build(source, "build_sdist", os.environ["PATH"])
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CMakeLists.txt", "constraints.txt"} <= names
    assert {f"submissions/{name}/recipe.toml" for name in SHIPPED} <= names
    assert {"submissions/strong/network.toml", "submissions/temporal/heads.toml"} <= names
    assert {f"csrc/{path.relative_to(ROOT / 'csrc')}" for path in (ROOT / "csrc").rglob("*.[ch]*")} <= names
    assert not [
        name for name in names if "/outputs/" in name or name.endswith((".so", "manifest.json", "ledger.jsonl"))
    ]


# --- what a package index shows


def test_the_metadata_name_authors_and_pages(pure: tuple[Path, str]) -> None:
    found = metadata(pure[0])
    assert found["Author"] == "The abawkit authors"
    urls = dict(line.split(", ", 1) for line in found.get_all("Project-URL", []))
    assert urls
    assert all(url.startswith("https://") for url in urls.values())
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(
        found.get_all("Classifier", [])
    )


LINK = re.compile(r"!?\[[^\[\]]*\]\(([^()\s]+)\)")


def test_every_link_of_the_readme_on_an_index_is_absolute(pure: tuple[Path, str]) -> None:
    found = metadata(pure[0])
    assert found["Description-Content-Type"] == "text/markdown"
    text = found.get_payload()
    assert isinstance(text, str)
    assert "From a release of the ABAW challenge" in text
    assert [target for target in LINK.findall(text) if not target.startswith("https://")] == []


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of setup.py, which builds nothing."""
    import importlib.util

    monkeypatch.setattr("setuptools.setup", lambda **_: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("abawkit_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "without", "within"),
    [
        ("see [the paper](https://a.org/1)", "see [the paper](https://a.org/1)", "see [the paper](https://a.org/1)"),
        ("[`C`](C.md#a-b): rules", "`C`: rules", "[`C`](https://x.org/r/blob/main/C.md#a-b): rules"),
        ("[below](#gpus)", "below", "[below](https://x.org/r#gpus)"),
        ("![Faces](docs/a.png)", "", "![Faces](https://x.org/r/raw/main/docs/a.png)"),
        ("P (V[0] + A) [x] (y)", "P (V[0] + A) [x] (y)", "P (V[0] + A) [x] (y)"),
    ],
)
def test_links_become_absolute_where_the_repository_has_an_address_and_go_where_it_has_none(
    setup: ModuleType, text: str, without: str, within: str
) -> None:
    index_readme: Callable[[str, str | None], str] = setup.index_readme
    assert index_readme(text, None) == without
    assert index_readme(text, "https://x.org/r") == within
