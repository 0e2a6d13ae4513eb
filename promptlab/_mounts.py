"""Which file system a file is on, as far as it matters: write-ahead logging needs the shared memory of one machine.

Linux lists its mounts in `/proc/self/mounts`; elsewhere nothing is known, and SQLite's own answer has to do.
"""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")

# Types of file systems that several machines can have open at once, or that are a host's folder seen from a guest.
_NETWORK = re.compile(
    r"(nfs|cifs|smb|9p|afs|coda|ncp|ceph|gfs2|ocfs2|lustre|gpfs|beegfs|pvfs|orangefs|panfs|glusterfs|davfs|vboxsf|prl_fs)\w*"
    r"|fuse\.(sshfs|s3fs|rclone|gcsfuse|glusterfs|ceph|juicefs|davfs2?|mount-s3|goofys|curlftpfs|smbnetfs|nfs|lustre"
    r"|moosefs|mfs|seaweedfs|blobfuse2?|gvfsd-fuse|cvmfs2|onedriver|google-drive-ocamlfuse|afp|osxfs|grpcfuse)"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")  # a blank in a path is written \040


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    r"""Return the type of the network file system that a file is on, or None.

    >>> network_file_system(Path("/data/lab.db"), "server:/data /data nfs4 rw 0 0\n/dev/sda1 / ext4 rw 0 0")
    'nfs4'
    """
    kind = _kind(path.absolute(), _listed() if mounts is None else mounts)
    return kind if _NETWORK.fullmatch(kind) else None


def _kind(path: Path, mounts: str) -> str:
    """Return the type of the deepest mount above a path; of two at one place the later one is seen."""
    found = [line.split(" ")[1:3] for line in mounts.splitlines() if line.count(" ") > 1]
    places = [(Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), place)), kind) for place, kind in found]
    above = [(len(place.parts), number, kind) for number, (place, kind) in enumerate(places) if place in path.parents]
    return max(above, default=(0, 0, ""))[2]


def _listed() -> str:
    try:
        return _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:  # pragma: no cover - not on Linux
        return ""
