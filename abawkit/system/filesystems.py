"""What kind of file system a path is on, and what such a one does not promise about locks and renames."""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

_MOUNTS: Final = Path("/proc/self/mountinfo")

_NFS: Final = (
    "{locks}, and other machines may see a renamed file some seconds late: write to one run from one machine, and wait "
    "a minute before another one continues it"
)
"""Source: nfs(5), sections "Using file locks with NFS" and "Data and metadata coherence"; flock(2), section "NFS
details"."""

_OBJECTS: Final = (
    "objects have no locks between machines, and a folder is renamed by copying its files one by one: a run that is "
    "killed meanwhile continues from the checkpoint before; keep machines from writing to one folder yourself"
)

_UNKNOWN: Final = (
    "whether its locks hold between machines and its renames are atomic depends on the program behind it: keep "
    "machines from writing to one folder yourself"
)

_HERE: Final = "its locks hold on this machine alone: keep other machines from writing to the same folder yourself"
"""Source: flock(2); mount.lustre(8), option ``localflock``; the kernel's Documentation/filesystems/9p.rst; BeeGFS's
client option ``tuneUseGlobalFileLocks``, off by default."""

_NO_LOCKS: Final = "it has no locks: make sure that one program writes to a folder at a time"

_CIFS: Final = "a file that another program has open can't be replaced: close what reads a run while it is written"
"""Source: flock(2), section "CIFS details"."""

_OTHER_MACHINES: Final = (
    "nfs",
    "beegfs",
    "gpfs",
    "ceph",
    "lustre",
    "cifs",
    "smb3",
    "9p",
    "virtiofs",
    "afs",
    "panfs",
    "wekafs",
)

_OBJECT_MOUNTS: Final = re.compile(r"fuse\.(s3fs|gcsfuse|goofys|mountpoint-s3|rclone|blobfuse2?|geesefs|juicefs|ossfs)")


class FileSystem(NamedTuple):
    """The file system of a path.

    Attributes:
        type: As ``/proc/self/mountinfo`` names it, such as ``ext4`` or ``nfs4``; empty where that is not known.
        options: Of the mount and of its superblock.
    """

    type: str
    options: frozenset[str]

    @property
    def is_shared(self) -> bool:
        """Whether it is known to lie on another machine, or behind a program that may have it there."""
        return self.is_program or self.type.startswith(_OTHER_MACHINES)

    @property
    def is_program(self) -> bool:
        """Whether a program provides it (FUSE), but for that of containers, which shows folders of a local disk."""
        return self.type == "fuse" or (self.type.startswith("fuse.") and self.type != "fuse.fuse-overlayfs")

    def explain_weakness(self) -> str:
        """What abawkit relies on and this file system does not promise, in one sentence; empty where it does."""
        if self.type.startswith("nfs"):
            local = {"nolock", "local_lock=all", "local_lock=flock"} & self.options
            return _NFS.format(locks="its locks hold on this machine alone" if local else "its locks hold")
        if self.type == "lustre":
            return "" if "flock" in self.options else _HERE if "localflock" in self.options else _NO_LOCKS
        if self.type in ("cifs", "smb3"):
            return _CIFS
        if _OBJECT_MOUNTS.fullmatch(self.type):
            return _OBJECTS
        if self.is_program:
            return _UNKNOWN
        return _HERE if self.type in ("9p", "virtiofs", "beegfs") else ""


def find_file_system(path: Path, mounts: Path = _MOUNTS) -> FileSystem:
    """The file system of a path that exists, or of the nearest folder above it that does.

    Args:
        path: The path.
        mounts: Instead of ``/proc/self/mountinfo``; see proc_pid_mountinfo(5).
    """
    target = path.resolve()
    found, longest = FileSystem("", frozenset()), -1
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return found  # no Linux
    for line in lines:
        fields, _, more = line.partition(b" - ")
        before, after = fields.split(b" "), more.split(b" ")
        if len(before) < 6 or len(after) < 3:
            continue
        escaped = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), before[4])
        point = Path(os.fsdecode(escaped))
        if target.is_relative_to(point) and len(point.parts) >= longest:  # of two at one place, the later one counts
            options = frozenset(os.fsdecode(before[5] + b"," + after[2]).split(","))
            found, longest = FileSystem(os.fsdecode(after[0]), options), len(point.parts)
    return found


def describe_weakness(path: Path) -> str:
    """What the file system of a path does not promise, with its type in front; empty where nothing is missing."""
    system = find_file_system(path)
    reason = system.explain_weakness()
    return f"is on a file system of type {system.type}: {reason}" if reason else ""
