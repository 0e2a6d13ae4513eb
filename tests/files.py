"""What tests ask of a file from outside: its bytes, and what stands beside it."""

import hashlib
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes. Only for files that nothing in this process has open: see promptlab.store."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def beside(path: Path) -> list[str]:
    """Return the names of all files in a file's folder."""
    return sorted(each.name for each in path.parent.iterdir())
