"""Workers end with the process that started them, even one that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from abawkit.synth import write_release

if __name__ == "__main__":
    write_release(Path(sys.argv[1]), size="large", workers=2, progress=lambda done, total: print(done, flush=True))
"""


def running(group: int) -> list[int]:
    """Processes of a group that are not just waiting to be reaped."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended since the folder was listed
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads process groups from /proc")
def test_workers_of_a_killed_process_leave(tmp_path: Path) -> None:
    script = tmp_path / "draw.py"
    script.write_text(SCRIPT)
    out = tmp_path / "release"
    out.mkdir()
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, str(script), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": paths},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the workers have begun to draw"
        assert len(running(process.pid)) >= 3
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 10
        while running(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running(process.pid) == []
