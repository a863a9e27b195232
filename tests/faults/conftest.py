"""The library that brings faults about, and programs that run beside the tests."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``kill.c``, compiled."""
    if sys.platform != "linux":
        pytest.skip("faults are brought about with LD_PRELOAD and /proc, which Linux has")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build tests/faults/kill.c with")
    path = tmp_path_factory.mktemp("library") / "kill.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, HERE / "kill.c", "-ldl"], check=True)
    return path


class Beside:
    """A program that runs beside a test; both speak to each other in lines.

    One that does not end when it must is killed after a minute, so that its test fails.
    """

    def __init__(self, source: str, *arguments: str | Path, stderr: int | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self.alarm = threading.Timer(60, self.process.kill)
        self.alarm.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self) -> str:
        """Waits for its next line; empty when it has ended."""
        return self._end(self.process.stdout).readline().rstrip("\n")

    def tell(self, line: str = "") -> None:
        """Gives it a line."""
        stdin = self._end(self.process.stdin)
        stdin.write(f"{line}\n")
        stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Waits for its end; its exit code, or the negative number of the signal that killed it."""
        return self.process.wait()

    @staticmethod
    def _end(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@pytest.fixture
def beside() -> Iterator[Callable[..., Beside]]:
    """Starts a program beside the test; none outlives it."""
    started: list[Beside] = []

    def start(source: str, *arguments: str | Path, stderr: int | None = None) -> Beside:
        started.append(Beside(source, *arguments, stderr=stderr))
        return started[-1]

    yield start
    for program in started:
        program.alarm.cancel()
        with program.process as process:  # closes its pipes, and waits
            process.kill()
