"""A Slurm in a folder: controller, nodes and authentication, which end with the block."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
BOUND = 400
"""Seconds within which a job must have done what is waited for."""

START_DELAY = 3
"""Seconds from now to the new start of a requeued job: one in the second in which the node revoked the credential of
the job's last start would be taken for that one, and be killed."""

CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
MinJobAge=3600
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def find_missing() -> str:
    """What a Slurm of its own would need and is not here; empty if it can run."""
    if os.geteuid() != 0:
        return "root"
    if socket.gethostname() == "localhost":
        return "a name of this machine other than localhost"
    return ", ".join(name for name in PROGRAMS if not shutil.which(name))


class SlurmNode:
    """A running Slurm of two nodes.

    Args:
        folder: With its configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}

    def call(self, *command: str) -> str:
        """Runs one of Slurm's programs, and returns what it prints."""
        result = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        assert result.returncode == 0, f"{command}: {result.stderr}\n{self.read_logs()}"
        return result.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submits a batch script, and returns the number of the job; its output is `read_output`."""
        path = self.folder / "job.sh"
        path.write_text(script)
        return self.call("sbatch", "--parsable", "--output", str(self.folder / "job.log"), *options, str(path)).strip()

    def read_output(self) -> str:
        """What the jobs printed."""
        path = self.folder / "job.log"
        return path.read_text() if path.exists() else ""

    def read_job(self, job: str) -> dict[str, str]:
        """The state of a job, as ``scontrol show job`` has it."""
        try:
            fields = self.call("scontrol", "show", "job", "--oneliner", job).split()
        except AssertionError as error:
            raise AssertionError(f"{error}\noutput of the jobs:\n{self.read_output()}") from error
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def wait_until_done(self, job: str) -> dict[str, str]:
        """The state of a job that has ended, and that no one puts back into the queue."""
        until = time.monotonic() + BOUND
        while time.monotonic() < until:
            state = self.read_job(job)
            if state["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"):
                return state
            self.start_now(job)
            time.sleep(0.2)
        raise AssertionError(f"job {job} did not end within {BOUND} s: {self.read_job(job)}\n{self.read_output()}")

    def start_now(self, job: str) -> None:
        """Brings a job that was put back into the queue to an early start: Slurm would let it wait for two minutes."""
        state = self.read_job(job)
        if (state["JobState"], state["Reason"]) != ("PENDING", "BeginTime") or state["StartTime"] == "Unknown":
            return  # Slurm knows no start of a job that may start at once
        wait = (datetime.fromisoformat(state["StartTime"]) - datetime.now()).total_seconds()
        if wait > 2 * START_DELAY:  # else it was brought forward already, and must not be put off again
            self.call("scontrol", "update", f"JobId={job}", f"StartTime=now+{START_DELAY}")

    def read_logs(self) -> str:
        """The ends of the daemons' logs."""
        return "\n".join(log.read_text()[-2000:] for log in sorted(self.folder.glob("*d.*log")))


@contextmanager
def run_slurm() -> Iterator[SlurmNode]:
    """Starts a Slurm of two nodes, which are both this machine, and ends it and its jobs with the block.

    The processes of a run meet at the name of its first node, so that both names must lead here: the nodes are called
    as this machine is, and localhost.
    """
    folder = Path(mkdtemp(prefix="slurm-"))  # sockets have short paths
    host = socket.gethostname().split(".")[0]
    names = (host, "localhost")
    try:
        (folder / "state").mkdir()
        for name in names:
            (folder / f"spool.{name}").mkdir()
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        values = {"folder": folder, "host": host, "ports": find_free_ports(3)}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
        node = SlurmNode(folder)
        munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        paths = [f"--{option}={folder / name}" for option, name in {**munge, "log-file": "munged.log"}.items()]
        node.call("munged", "--force", *paths)
        node.call("slurmctld", "-c")
        for name in names:
            node.call("slurmd", "-c", "-N", name)
        until = time.monotonic() + 60
        while _count_idle(node) < len(names):
            assert time.monotonic() < until, node.read_logs()
            time.sleep(0.2)
        yield node
    finally:
        _end(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _count_idle(node: SlurmNode) -> int:
    command = ["sinfo", "--noheader", "--Node", "--states=idle"]
    result = subprocess.run(command, capture_output=True, text=True, env=node.environment, check=False)
    return len(result.stdout.splitlines())


def find_free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _end(folder: Path) -> None:
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    with suppress(OSError):
        for options in (["--signal=KILL"], []):  # the first ends steps, the second what waits
            command = ["scancel", "--user=root", *options]
            subprocess.run(command, capture_output=True, env=environment, check=False, timeout=30)
    for path in (*folder.glob("slurmd.*.pid"), folder / "slurmctld.pid", folder / "munged.pid"):
        with suppress(OSError, ValueError):
            number = int(path.read_text())
            os.kill(number, signal.SIGTERM)
            until = time.monotonic() + 10
            while Path(f"/proc/{number}").exists() and time.monotonic() < until:
                time.sleep(0.05)
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
