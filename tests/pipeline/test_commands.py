"""Commands as steps: what they print comes back, their errors do, and nothing is left behind by a signal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from abawkit.pipeline.commands import ExecutionOptions, StepError, run_together

# Stands for Python: says that it is there, and on SIGTERM takes its time to save, as a run in training does.
CHILD = """#!/bin/sh
trap 'kill $waiting; sleep 0.1; echo saved >> "$4.ended"; exit 143' TERM
sleep 60 &
waiting=$!
echo $$ > "$4.pid"
wait
"""


def test_what_commands_print_comes_back_in_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    stand_in(
        monkeypatch,
        tmp_path,
        """#!/bin/sh\n[ $4 = slow ] && sleep 0.3\nprintf '{"name": "%s", "last": "%s"}' $4 $5\n""",
    )
    found = run_together([["train", "slow"], ["train", "quick"]], said.append)
    assert found == [{"name": "slow", "last": "--json"}, {"name": "quick", "last": "--json"}]
    assert said[:2] == ["$ abawkit train slow", "$ abawkit train quick"]
    assert said[2].startswith("  done in ")


def test_one_that_fails_is_named_with_its_own_words_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    stand_in(
        monkeypatch, tmp_path, '#!/bin/sh\n[ "$4" = good ] && echo {} && exit 0\necho "error: no room" >&2\nexit 3\n'
    )
    with pytest.raises(StepError, match="`abawkit train 'a b'` ended with exit code 3") as error:
        run_together([["train", "good"], ["train", "a b"]], said.append)
    assert error.value.exit_code == 3
    assert "error: no room\n" in said


def test_more_than_a_pipe_holds_blocks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, tmp_path, "#!/bin/sh\nhead -c 300000 /dev/zero >&2\necho {}\n")
    assert run_together([["a"], ["b"]], lambda _: None) == [{}, {}]


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_asks_each_command_once_and_waits_for_all(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "python"
    program.write_text(CHILD)
    program.chmod(0o755)
    names = [tmp_path / "first", tmp_path / "second"]
    text = f"""
import signal, sys
from abawkit.errors import StoppedError
from abawkit.pipeline.commands import run_together
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without it
sys.executable = {str(program)!r}
try:
    run_together([["train", {str(names[0])!r}], ["train", {str(names[1])!r}]], print)
except StoppedError as error:
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
"""
    caller = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pids = [wait_for(name.with_suffix(".pid")) for name in names]
    # Ctrl-C in a terminal goes to every process of the foreground group, which is that of the caller alone.
    assert all(os.getpgid(pid) != os.getpgid(caller.pid) for pid in pids)
    caller.send_signal(number)
    try:
        caller.wait(timeout=20)
    finally:
        caller.kill()
        caller.wait()
    assert [name.with_suffix(".ended").read_text() for name in names] == ["saved\n", "saved\n"]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert caller.returncode == 128 + number


@pytest.mark.parametrize(
    ("processors", "wanted", "options", "expected"),
    [
        (2, 3, ExecutionOptions(), (2, 1)),
        (16, 3, ExecutionOptions(), (3, 5)),
        (64, 5, ExecutionOptions(), (4, 16)),
        (64, 5, ExecutionOptions(jobs=8), (5, 12)),
        (1, 5, ExecutionOptions(), (1, 1)),
        (4, 2, ExecutionOptions(jobs=1), (1, 4)),
        (4, 2, ExecutionOptions(threads=7), (2, 7)),
    ],
)
def test_processors_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, processors: int, wanted: int, options: ExecutionOptions, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr("abawkit.pipeline.commands.count_processors", lambda: processors)
    assert options.share(wanted) == expected


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Puts a script in the place of Python; its arguments are ``-m abawkit COMMAND ...``."""
    program = folder / "python"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def wait_for(path: Path) -> int:
    for _ in range(1000):
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")
