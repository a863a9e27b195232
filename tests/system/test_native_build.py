"""What compiles the native operators: the programs it takes, the GPUs it finds, and the line of an error it shows."""

import sys
from pathlib import Path

import pytest

from abawkit.system.native_build import NotBuiltError, add_remedy, find_error, find_gpus, find_programs, run_command

GCC = "/src/csrc/kernels/cpu/dispatch.cpp:12:3: error: 'vector' in namespace 'std' does not name a template type"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            f"FAILED: [code=1] CMakeFiles/cpu_kernels.dir/dispatch.cpp.o\n/usr/bin/c++ -Werror -c x.cpp\n{GCC}\n"
            "ninja: build stopped: subcommand failed.",
            GCC,
        ),
        (
            'FAILED: x.o\n/src/forward.cu(88): error: identifier "foo" is undefined\n1 error detected',
            '/src/forward.cu(88): error: identifier "foo" is undefined',
        ),
        (
            "FAILED: x.o\nc++ -c x.cpp\nc++: fatal error: Killed signal terminated program cc1plus",
            "c++: fatal error: Killed signal terminated program cc1plus",
        ),
        (
            "FAILED: libabawkit_operators.so\n: && c++ -o x\n/usr/bin/ld: x.o: undefined reference to `aoti_torch'\n"
            "collect2: error: ld returned 1 exit status",
            "/usr/bin/ld: x.o: undefined reference to `aoti_torch'",
        ),
        ("-- looking\nCMake Error at CMakeLists.txt:3 (project):\n  no", "CMake Error at CMakeLists.txt:3 (project):"),
        ("nothing\nto see", ""),
    ],
    ids=["gcc", "nvcc", "out of memory", "linker", "cmake", "none"],
)
def test_the_compilers_own_line_is_shown_not_the_one_before_it(text: str, line: str) -> None:
    assert find_error(text) == line


def test_a_command_that_fails_in_silence_says_its_exit_code() -> None:
    with pytest.raises(NotBuiltError, match=r"^`false x` failed: exit code 1$"):
        run_command("false", "x")
    with pytest.raises(NotBuiltError, match=r"^`no-such x` can't be started: No such file or directory$"):
        run_command("/no-such", "x")


def test_a_reason_gets_the_command_that_compiles() -> None:
    assert add_remedy("torch was not found; install torch") == (
        "torch was not found; install torch, then run `abawkit ops build`"
    )
    assert add_remedy("`cmake -S` failed: no") == "`cmake -S` failed: no; correct that, then run `abawkit ops build`"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment that was not activated: its commands are beside its Python, and PATH does not know them."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    program(tmp_path / "bin/c++", "")
    return tmp_path


def test_programs_are_found_beside_python_where_the_environment_is_not_activated(environment: Path) -> None:
    cmake = program(environment / "venv/cmake", "echo cmake version 4.1.0")
    ninja = program(environment / "venv/ninja", "")
    assert find_programs() == {"cmake": str(cmake), "ninja": str(ninja)}


def test_a_cmake_of_the_system_that_is_too_old_is_passed_over(environment: Path) -> None:
    program(environment / "bin/cmake", "echo cmake version 3.22.1")
    program(environment / "bin/ninja", "")
    with pytest.raises(NotBuiltError, match=r"^not found: cmake; install it$"):
        find_programs()
    newer = program(environment / "venv/cmake", "echo cmake version 3.25.0")
    assert find_programs()["cmake"] == str(newer)


def test_all_that_is_missing_is_named_at_once(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-c++ -O2")
    with pytest.raises(NotBuiltError, match=r"^not found: cmake, ninja, a C\+\+ compiler; install it$"):
        find_programs()
    monkeypatch.setenv("CXX", "c++ -m64")  # with an argument, as CMake takes it
    with pytest.raises(NotBuiltError, match=r"^not found: cmake, ninja; install it$"):
        find_programs()


@pytest.mark.parametrize(
    ("answer", "gpus"),
    [
        ("printf '9.0\\n9.0\\n8.6\\n'", [(8, 6), (9, 0)]),
        ("printf '12.1\\n'", [(12, 1)]),
        ("echo No devices were found; exit 6", []),
        ("echo [N/A]", []),
    ],
)
def test_gpus_are_those_of_the_driver(environment: Path, answer: str, gpus: list[tuple[int, int]]) -> None:
    assert find_gpus() == []  # no driver
    program(environment / "bin/nvidia-smi", answer)
    assert find_gpus() == gpus
