"""Mounts: which file system a file is on, read from the list that Linux keeps."""

from pathlib import Path

import pytest

from promptlab._mounts import network_file_system

MOUNTS = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /run tmpfs rw 0 0
server:/export /data nfs4 rw,vers=4.2 0 0
/dev/sdb1 /data/scratch ext4 rw 0 0
//server/share /mnt/my\040share cifs rw 0 0
user@host:/ /mnt/ssh fuse.sshfs rw 0 0
C:\134 /mnt/c 9p rw 0 0
bucket /mnt/bucket fuse.gcsfuse rw 0 0
/dev/sdc1 /mnt/ntfs fuseblk rw 0 0
overlay /mnt/overlay fuse.fuse-overlayfs rw 0 0
/dev/sdd1 /mnt/twice ext4 rw 0 0
server:/twice /mnt/twice nfs rw 0 0
mds:/ /lustre lustre rw 0 0
mon:/ /ceph ceph rw 0 0
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("/srv/lab.db", None, id="local-disk"),
        pytest.param("/run/lab.db", None, id="memory"),
        pytest.param("/data/lab.db", "nfs4", id="nfs"),
        pytest.param("/data/deep/down/lab.db", "nfs4", id="deep"),
        pytest.param("/data/scratch/lab.db", None, id="local-below-network"),
        pytest.param("/database/lab.db", None, id="a-name-that-begins-alike"),
        pytest.param("/mnt/my share/lab.db", "cifs", id="a-blank-in-the-name"),
        pytest.param("/mnt/ssh/lab.db", "fuse.sshfs", id="sshfs"),
        pytest.param("/mnt/c/lab.db", "9p", id="windows-from-linux"),
        pytest.param("/mnt/bucket/lab.db", "fuse.gcsfuse", id="bucket"),
        pytest.param("/mnt/ntfs/lab.db", None, id="a-local-disk-through-fuse"),
        pytest.param("/mnt/overlay/lab.db", None, id="a-local-overlay"),
        pytest.param("/mnt/twice/lab.db", "nfs", id="the-later-of-two"),
        pytest.param("/lustre/lab.db", "lustre", id="lustre"),
        pytest.param("/ceph/lab.db", "ceph", id="ceph"),
    ],
)
def test_network_file_systems_are_told_from_others(path, kind):
    """The deepest mount above the file decides."""
    assert network_file_system(Path(path), MOUNTS) == kind


def test_where_nothing_is_known_nothing_is_claimed():
    """Without a list (macOS, Windows) SQLite's own answer has to do."""
    assert network_file_system(Path("/data/lab.db"), "") is None
