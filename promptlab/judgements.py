"""What people say of outputs: ratings, notes, pins; and the layouts they save.

Every row is only ever added: the current value is the last row of a rater, and taking something back is one more row.
A rating is `-1`, `0` or `1` on the scale `thumbs`, and `1` to `5` on `stars`; None takes it back. A note of no text and
a pin that is false do the same.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptlab import _text
from promptlab._json import compact, utf8
from promptlab.errors import RatingError, NotFoundError
from promptlab.ledger import timestamp
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3

Scale = Literal["thumbs", "stars"]

VALUES: Mapping[str, tuple[int, ...]] = {"thumbs": (-1, 0, 1), "stars": (1, 2, 3, 4, 5)}
NOTE_CHARS = 10_000
NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is currently said of one output.

    Attributes
    ----------
    ratings
        Rater -> (value, scale), of those whose last rating was not taken back; the last to speak comes last.
    note, noted_by
        The newest note by anybody, and whose it is; None where there is none.
    pinned
        Whether the last word of anybody was to pin it.
    """

    ratings: Mapping[str, tuple[float, str]]
    note: str | None = None
    noted_by: str | None = None
    pinned: bool = False


NOTHING = Judgement({})


def login_name() -> str:
    """Return the user's login name, or `someone` where this machine knows none."""
    try:
        return getpass.getuser() or "someone"
    except (OSError, KeyError, ImportError):  # no account and no LOGNAME, as in some containers
        return "someone"


# Saying something

_EXISTS = "select 1 from outputs where id = ?"
_RATE = """
insert into ratings (output_id, rater, value, scale, source, created_at) values (?, ?, ?, ?, ?, ?)
"""
_NOTE = "insert into notes (output_id, rater, text, created_at) values (?, ?, ?, ?)"
_PIN = "insert into pins (output_id, rater, pinned, created_at) values (?, ?, ?, ?)"


def rate(
    store: Store,
    output_id: int,
    value: float | None,
    *,
    rater: str | None = None,
    scale: Scale = "thumbs",
    source: str = "code",
) -> None:
    """Store a rating of an output, durable when this returns; None takes an earlier one back.

    Parameters
    ----------
    value
        -1, 0 or 1 on the scale `thumbs`, 1 to 5 on `stars`, or None.
    rater
        Who rates; the login name by default.
    source
        Where it was said, e.g. `matrix`.

    Raises
    ------
    RatingError
        When the value is not on the scale.
    NotFoundError
        When there is no such output.

    >>> import tempfile
    >>> from promptlab.testing import sample_lab
    >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
    ...     rate(lab.store, 1, 1, rater="ann")
    ...     current(lab.store, [1])
    {1: Judgement(ratings={'ann': (1.0, 'thumbs')}, note=None, noted_by=None, pinned=False)}
    """
    if scale not in get_args(Scale):
        msg = f"scale={scale!r}: one of {', '.join(map(repr, get_args(Scale)))} is needed"
        raise RatingError(msg)
    if value is not None and (isinstance(value, bool) or value not in VALUES[scale]):
        given = f"{value:g}" if isinstance(value, float) else _text.brief(value)
        msg = f"{given} is not on the scale {scale!r}: {', '.join(map(str, VALUES[scale]))}, or None"
        raise RatingError(msg)
    _say(store, _RATE, output_id, rater_name(rater), None if value is None else float(value), scale, source)


def note(store: Store, output_id: int, text: str, *, rater: str | None = None) -> None:
    """Store a note on an output, durable when this returns; an empty text takes an earlier one back."""
    if not isinstance(text, str) or len(text) > NOTE_CHARS:
        msg = f"a note is a text of at most {NOTE_CHARS:,} characters"
        raise RatingError(msg)
    _say(store, _NOTE, output_id, rater_name(rater), utf8(text).strip())


def pin(store: Store, output_id: int, *, pinned: bool = True, rater: str | None = None) -> None:
    """Pin an output, or with False unpin it; durable when this returns."""
    if not isinstance(pinned, bool):
        msg = f"pinned={_text.brief(pinned)}: True or False is needed"
        raise RatingError(msg)
    _say(store, _PIN, output_id, rater_name(rater), int(pinned))


def _say(store: Store, statement: str, output_id: int, *values: Any) -> None:
    if isinstance(output_id, bool) or not hasattr(output_id, "__index__"):
        msg = f"output {_text.brief(output_id)}: its id is needed; run.frame() has them in the column output_id"
        raise RatingError(msg)
    key, at = output_id.__index__(), timestamp(time.time())

    def add(connection: sqlite3.Connection) -> bool:
        if not -(2**63) <= key < 2**63 or connection.execute(_EXISTS, (key,)).fetchone() is None:
            return False
        connection.execute(statement, (key, *values, at))
        return True

    if not store.write(add).result():
        msg = f"no output {key} in {store.path}; run.frame() has the ids in the column output_id"
        raise NotFoundError(msg)


def rater_name(name: str | None) -> str:
    """Return who rates: the login name where nobody is named; raise `RatingError` for what is no name."""
    if name is None:
        return login_name()
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_CHARS:
        msg = f"rater={_text.brief(name)}: a name of 1 to {NAME_CHARS} characters is needed"
        raise RatingError(msg)
    return utf8(name.strip())


# What is said now

_OF_THESE = "output_id in (select value from json_each(:ids))"
_BETWEEN = "output_id between :low and :high"
# The last row of each rater on each output, in the order in which they were said.
_RATINGS = """
select output_id, rater, value, scale from ratings
where id in (select max(id) from ratings where {which} group by output_id, rater) and value is not null order by id
"""
_NOTES = """
select output_id, rater, text from notes
where id in (select max(id) from notes where {which} group by output_id, rater) and text != '' order by id
"""
_PINS = """
select output_id, pinned from pins where id in (select max(id) from pins where {which} group by output_id) and pinned
"""


def current(store: Store, output_ids: Iterable[int]) -> dict[int, Judgement]:
    """Return what is said now of those of these outputs of which anything is said."""
    return _current(store, _OF_THESE, {"ids": json.dumps([int(key) for key in output_ids])})


def between(store: Store, low: int, high: int) -> dict[int, Judgement]:
    """Return what is said now of the outputs whose ids lie between two, both included."""
    return _current(store, _BETWEEN, {"low": low, "high": high})


def _current(store: Store, which: str, asked: dict[str, Any]) -> dict[int, Judgement]:
    ratings: dict[int, dict[str, tuple[float, str]]] = {}
    for key, rater, value, scale in store.read(_RATINGS.format(which=which), asked):
        ratings.setdefault(key, {})[rater] = (value, scale)
    notes = {key: (text, rater) for key, rater, text in store.read(_NOTES.format(which=which), asked)}
    pins = {key for key, _ in store.read(_PINS.format(which=which), asked)}
    return {
        key: Judgement(ratings.get(key, {}), *notes.get(key, (None, None)), pinned=key in pins)
        for key in sorted({*ratings, *notes, *pins})
    }


_SAID = {
    "ratings": "select rater, value, scale, created_at as at from ratings where output_id = ? order by id",
    "notes": "select rater, text, created_at as at from notes where output_id = ? order by id",
}


def said(store: Store, output_id: int) -> dict[str, list[dict[str, Any]]]:
    """Return every rating and every note that an output ever got, the oldest first."""
    return {name: [dict(row) for row in store.read(sql, (output_id,))] for name, sql in _SAID.items()}


# Saved layouts

_ADD_VIEW = "insert into views (name, spec, created_at) values (?, ?, ?)"
_VIEWS = """
select name, spec, created_at from views where id in (select max(id) from views group by name) order by id desc
"""


@dataclass(frozen=True, slots=True)
class View:
    """A saved layout: its name, when it was saved (UTC), and what it holds."""

    name: str
    at: str
    spec: Mapping[str, Any]


def save_view(store: Store, name: str, spec: Mapping[str, Any]) -> None:
    """Save a layout under a name; one that had the name before is kept in the file, but no longer listed."""
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_CHARS:
        msg = f"a view needs a name of 1 to {NAME_CHARS} characters, not {_text.brief(name)}"
        raise RatingError(msg)
    row = (utf8(name.strip()), compact(spec), timestamp(time.time()))
    store.write(lambda connection: connection.execute(_ADD_VIEW, row)).result()


def views(store: Store) -> list[View]:
    """Return the saved layouts, the newest first."""
    return [View(name, at, json.loads(spec)) for name, spec, at in store.read(_VIEWS)]


def view(store: Store, name: str) -> View:
    """Return the newest layout of a name; raise `NotFoundError` with the nearest name when there is none."""
    saved = {each.name: each for each in views(store)}
    if name in saved:
        return saved[name]
    near = _text.nearest(name, saved)
    hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join(map(repr, saved)) or 'none yet'}"
    msg = f"no view {_text.brief(name)} in {store.path}{hint}"
    raise NotFoundError(msg)
