"""File systems: their type is that of the mount above a path, and what they do not promise is said."""

from pathlib import Path

import pytest

from abawkit.system.filesystems import FileSystem, describe_weakness, find_file_system

MOUNTS = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /scratch rw - lustre mds@tcp:/scratch rw,flock,lazystatfs
31 22 0:41 / /scratch2 rw - lustre mds@tcp:/scratch2 rw,localflock
32 22 0:42 / /home rw,relatime shared:3 - nfs4 server:/home rw,vers=4.2,hard
33 32 0:43 / /home/me/my\040data rw - fuse.s3fs s3fs rw,user_id=0
34 22 0:44 / /twice rw - ext4 /dev/vdb rw
35 34 0:45 / /twice rw - xfs /dev/vdc rw
36 22 0:46 / /broken
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/scratch/runs/a", "lustre"),
        ("/scratch2", "lustre"),
        ("/scratch3/runs", "ext4"),  # not below /scratch
        ("/home/me", "nfs4"),
        ("/home/me/my data/runs", "fuse.s3fs"),
        ("/home/me/my/data", "nfs4"),
        ("/twice/runs", "xfs"),  # mounted over the other
        ("/broken/runs", "ext4"),
    ],
)
def test_the_type_is_that_of_the_deepest_mount_above_a_path(mounts: Path, path: str, expected: str) -> None:
    assert find_file_system(Path(path), mounts).type == expected


def test_where_nothing_tells_of_mounts_the_type_is_not_known(tmp_path: Path) -> None:
    assert find_file_system(tmp_path, tmp_path / "absent") == FileSystem("", frozenset())
    assert FileSystem("", frozenset()).explain_weakness() == ""


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("ext4", "", ""),
        ("xfs", "", ""),
        ("tmpfs", "", ""),
        ("ceph", "", ""),
        ("gpfs", "", ""),
        ("fuse.fuse-overlayfs", "", ""),
        ("lustre", "flock", ""),
        ("lustre", "localflock", "on this machine alone"),
        ("lustre", "noflock", "has no locks"),
        ("nfs4", "hard", "its locks hold, and other machines may see a renamed file some seconds late"),
        ("nfs", "nolock", "its locks hold on this machine alone, and other machines"),
        ("nfs", "local_lock=all", "on this machine alone"),
        ("cifs", "", "can't be replaced"),
        ("9p", "", "on this machine alone"),
        ("beegfs", "", "on this machine alone"),
        ("fuse.s3fs", "", "objects have no locks"),
        ("fuse.gcsfuse", "", "objects have no locks"),
        ("fuse.sshfs", "", "depends on the program behind it"),
    ],
)
def test_what_is_not_promised_is_one_sentence(kind: str, options: str, said: str) -> None:
    text = FileSystem(kind, frozenset(options.split(","))).explain_weakness()
    assert said in text
    assert bool(text) is bool(said)
    assert "\n" not in text
    assert ". " not in text


@pytest.mark.parametrize(("kind", "shared"), [("ext4", False), ("tmpfs", False), ("nfs4", True), ("fuse.s3fs", True)])
def test_a_disk_of_this_machine_is_told_from_others(kind: str, shared: bool) -> None:
    assert FileSystem(kind, frozenset()).is_shared is shared


def test_the_message_names_the_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nfs = FileSystem("nfs4", frozenset())
    monkeypatch.setattr("abawkit.system.filesystems.find_file_system", lambda _: nfs)
    assert describe_weakness(tmp_path).startswith("is on a file system of type nfs4: its locks hold, and")
