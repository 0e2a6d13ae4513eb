"""Signs of life: who may be working on a sample, and who executes a run.

A run that goes on may hold no lease: while it is paused, or before a closed gate. Its sign of life is a row of `views`,
the table of what is remembered by a name: `executed:RUN:OWNER`, with the time until when it holds. It is renewed with
the leases and taken back at the end; whoever forgets a run, or copies its file, looks at it.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from promptlab._json import compact

if TYPE_CHECKING:
    import sqlite3

PREFIX = "executed:"  # of the names of these rows

_GIVE = "insert into views (name, spec, created_at) values (?, ?, ?)"
_RENEW = "update views set spec = ? where name glob ?"
# What is no sign of ours holds nothing: a file may come from anywhere.
_FIND = """
select name, json_extract(spec, '$.until') from views
where name glob ? and iif(json_valid(spec), json_type(spec, '$.until'), '') in ('real', 'integer')
"""


def is_held(owner: str, until_s: float, now_s: float) -> bool:
    """Whether a lease, or a sign of life, is of a process that may still be working on it."""
    try:
        return until_s > now_s and may_live(owner)
    except (ValueError, OverflowError):  # an owner in a form that is not ours: only its lease can tell
        return True


def may_live(owner: str) -> bool:
    """Whether the process that holds a lease may still be there; only on this machine can it be seen to be gone."""
    host, pid, _ = owner.rsplit(":", 2)
    if host != platform.node() or int(pid) == os.getpid() or os.name == "nt":  # signal 0 is no question on Windows
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def give(connection: sqlite3.Connection, run_id: int, owner: str, *, at: str, until_s: float, now_s: float) -> None:
    """Note that a run is executed by an owner; what processes that are gone have left of it goes."""
    for name, other, other_until_s in _found(connection, run_id):
        if not is_held(other, other_until_s, now_s):
            _delete(connection, name)
    connection.execute(_GIVE, (f"{PREFIX}{run_id}:{owner}", compact({"until": until_s}), at))


def renew(connection: sqlite3.Connection, owner: str, *, until_s: float) -> None:
    """Have an owner's signs hold for longer."""
    connection.execute(_RENEW, (compact({"until": until_s}), f"{PREFIX}*:{owner}"))


def take_back(connection: sqlite3.Connection, run_id: int, owner: str) -> None:
    """Note that an owner executes a run no more."""
    _delete(connection, f"{PREFIX}{run_id}:{owner}")


def is_executed(connection: sqlite3.Connection, run_id: int | None = None, *, now_s: float) -> bool:
    """Whether a process may be executing a run, or any run."""
    return any(is_held(owner, until_s, now_s) for _, owner, until_s in _found(connection, run_id))


def _found(connection: sqlite3.Connection, run_id: int | None) -> list[tuple[str, str, float]]:
    """Return the signs of a run, or of all: the name of each, its owner, and until when it holds."""
    rows = connection.execute(_FIND, (f"{PREFIX}{'*' if run_id is None else run_id}:*",))
    return [(name, name.split(":", 2)[2], until_s) for name, until_s in rows.fetchall()]


def _delete(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("delete from views where name = ?", (name,))
