"""`abawkit ops build`, with a cmake that compiles nothing: it hands out the library that is here already."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from abawkit.ops import native_library as binary

pytestmark = pytest.mark.e2e

CMAKE = """#!{python}
import pathlib, shutil, sys
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("cmake version 3.31.0")
elif arguments[0] == "-S":
    folder = pathlib.Path(arguments[arguments.index("-B") + 1])
    folder.mkdir(parents=True)
    (folder / "arguments").write_text("\\n".join(arguments))
    pathlib.Path({asked!r}).write_text("\\n".join(arguments))
else:
    arguments = (pathlib.Path(arguments[1]) / "arguments").read_text().split("\\n")
    prefix = next(a.partition("=")[2] for a in arguments if a.startswith("-DCMAKE_INSTALL_PREFIX="))
    if {error!r}:
        sys.exit("FAILED: [code=1] dispatch.cpp.o\\n" + {error!r})
    for path in pathlib.Path({here!r}).glob("*.so"):
        shutil.copy(path, prefix)
    if {content!r}:
        (pathlib.Path(prefix) / "libabawkit_operators.so").write_text({content!r})
"""


def machine(folder: Path, *, error: str = "", content: str = "") -> dict[str, str]:
    """The environment of a machine with compilers, where nothing was built yet."""
    here = binary.FOLDER
    if not (here / "libabawkit_operators.so").is_file():
        pytest.skip("nothing was built that could be handed out")
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    text = CMAKE.format(
        python=sys.executable, asked=str(folder / "asked"), error=error, here=str(here), content=content
    )
    for name, content_of in {"cmake": text, "ninja": "#!/bin/sh\n", "c++": "#!/bin/sh\n"}.items():
        (programs / name).write_text(content_of)
        (programs / name).chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ABAWKIT_") and name != "CXX"}
    return {**clean, "PATH": str(programs), "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def install_pure(folder: Path) -> Path:
    """A package as a wheel without native operators leaves it, in a folder of its own that can't be written to."""
    package = folder / "site/abawkit"
    unwanted = shutil.ignore_patterns("*.so", "build_note.txt", "__pycache__")
    root = Path(__file__).parents[2]
    shutil.copytree(root / "abawkit", package, ignore=unwanted)
    for name in ("CMakeLists.txt", "csrc/binding", "csrc/kernels", "submissions"):
        target = package / "shipped" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / name, target) if (root / name).is_dir() else shutil.copy(root / name, target)
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return package.parent


def command_line(site: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "abawkit", *arguments],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=site.parent,
        check=False,
    )


@pytest.mark.slow
def test_one_command_after_the_installation_compiles_for_what_is_there(tmp_path: Path) -> None:
    environment, site = machine(tmp_path), install_pure(tmp_path)
    before = json.loads(command_line(site, environment, "ops", "--json").stdout)
    assert {choice["name"] for choice in before["automatic"]} == {"reference"}
    files = sorted(site.rglob("*"))

    result = command_line(site, environment, "ops", "build")
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("compiling native operators for torch ")
    library = Path(result.stdout.splitlines()[-1])
    assert library.is_relative_to(tmp_path / "cache/abawkit/native")
    asked = (tmp_path / "asked").read_text().split("\n")
    assert asked[asked.index("-S") + 1] == str(site / "abawkit/shipped")

    after = json.loads(command_line(site, environment, "ops", "--json").stdout)
    assert {choice["name"] for choice in after["automatic"] if choice["dtype"] == "float32"} == {"native"}
    assert after["native"]["library"] == str(library)
    assert sorted(site.rglob("*")) == files  # nothing is written into the package

    (tmp_path / "bin/cmake").unlink()  # nothing is compiled again that is there
    again = command_line(site, environment, "ops", "build", "--json")
    assert json.loads(again.stdout)["built"] is False, again.stderr


def test_a_compiler_that_fails_is_quoted_with_the_command_to_repeat(tmp_path: Path) -> None:
    line = "csrc/kernels/cpu/dispatch.cpp:12:3: error: expected ';'"
    environment = machine(tmp_path, error=line)
    result = command_line(Path(__file__).parents[2], environment, "ops", "build", "--force", "--json")
    assert result.returncode == 4
    first, second = result.stderr.splitlines()[1:3]
    assert first == (
        f"error: native operators can't be built: `cmake --build` failed: {line}; correct that, then run "
        "`abawkit ops build`"
    )
    log = Path(second.removeprefix("the whole output: "))
    assert line in log.read_text()
    assert json.loads(result.stdout)["exit_code"] == 4


def test_a_library_that_can_not_be_loaded_is_not_kept(tmp_path: Path) -> None:
    environment = machine(tmp_path, content="no library at all")
    result = command_line(Path(__file__).parents[2], environment, "ops", "build", "--force")
    assert result.returncode == 4
    assert "what was compiled can't be loaded: OSError: " in result.stderr
    assert [path.name for path in (tmp_path / "cache/abawkit/native").glob("torch-*")] == []


def test_without_a_compiler_all_that_is_missing_is_named(tmp_path: Path) -> None:
    environment = machine(tmp_path)
    (tmp_path / "bin/c++").unlink()
    result = command_line(Path(__file__).parents[2], environment, "ops", "build", "--force")
    assert result.returncode == 4
    assert result.stderr.splitlines()[-1] == (
        "error: native operators can't be built: not found: a C++ compiler; install it, then run `abawkit ops build`"
    )
