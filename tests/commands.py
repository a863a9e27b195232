"""Commands in forked processes, which saves the import of torch: that of the tests serves them all."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import torch

import abawkit.training.run  # noqa: F401 - so that forked processes have it
from abawkit.cli import main
from abawkit.formats.base import find_entry_points as registered_formats
from abawkit.ops import registry


class Started:
    """A command that has begun; what it prints goes into files.

    Args:
        arguments: Its words.
        cwd: Where it runs; by default here.
        variables: Of its environment, beside those of the tests.
        given: What it reads from standard input, at most 64 KiB.
        packages: A folder of packages that it finds beside those of the tests.

    Attributes:
        pid: Number of its process.
    """

    def __init__(
        self,
        *arguments: object,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
        given: bytes = b"",
        packages: Path | None = None,
    ) -> None:
        self.command = ["abawkit", *map(str, arguments)]
        self._cwd, self._variables, self._given, self._packages = cwd, variables or {}, given, packages
        self._out, self._errors = tempfile.TemporaryFile("w+b"), tempfile.TemporaryFile("w+b")  # noqa: SIM115
        self._returned: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: threads and forks
            self.pid = os.fork()
        if self.pid == 0:
            self._run()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal that killed it; None while it runs."""
        if self._returned is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._returned = os.waitstatus_to_exitcode(status) if pid else None
        return self._returned

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Waits for its end, once."""
        with self._out, self._errors:
            if self._returned is None:
                self._returned = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return subprocess.CompletedProcess(self.command, self._returned, read(self._out), read(self._errors))

    def first_error_line(self) -> str:
        """The first line of stderr, waited for."""
        while "\n" not in read(self._errors) and self.poll() is None:
            time.sleep(0.01)
        return read(self._errors).partition("\n")[0]

    def wait_for_error(self, text: str) -> float:
        """Waits until stderr holds a text; when it did, in seconds of `time.monotonic`."""
        while text not in read(self._errors) and self.poll() is None:
            time.sleep(0.01)
        return time.monotonic()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._out.closed:
            if self.poll() is None:
                self.send_signal(signal.SIGKILL)
            self.wait()

    def _run(self) -> None:
        """Becomes the process of the command; does not return."""
        code: object = 1
        try:
            reading, writing = os.pipe()
            os.write(writing, self._given)
            os.close(writing)
            os.dup2(reading, 0)
            os.dup2(self._out.fileno(), 1)
            os.dup2(self._errors.fileno(), 2)
            sys.stdin = open(0)  # noqa: SIM115
            sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
            sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="utf-8", line_buffering=True)
            for number, handler in (
                (signal.SIGINT, signal.default_int_handler),
                (signal.SIGTERM, signal.SIG_DFL),
                (signal.SIGHUP, signal.SIG_DFL),
            ):
                signal.signal(number, handler)  # whatever the tests were started with
            os.environ.update({"OMP_NUM_THREADS": "1", "COLUMNS": "100", **self._variables})
            torch.set_num_threads(1)
            warnings.resetwarnings()
            warnings.simplefilter("default")
            if self._cwd:
                os.chdir(self._cwd)
            if self._packages:
                sys.path.insert(0, str(self._packages))
                registered_formats.cache_clear()
                registry.refresh()
            sys.argv = self.command
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1 if code else 0)


def read(file: IO[bytes]) -> str:
    """All that a file holds; the place where it is written to stays."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def command_line(
    *arguments: object,
    cwd: Path | None = None,
    code: int = 0,
    variables: Mapping[str, str] | None = None,
    packages: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, as a user does, and checks its exit code."""
    result = Started(*arguments, cwd=cwd, variables=variables, packages=packages).wait()
    assert result.returncode == code, f"{' '.join(result.args)}\n{result.stdout}\n{result.stderr}"
    return result
