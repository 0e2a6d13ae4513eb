"""Blind pairwise rating: a session's pairings are planned and stored before one is shown; votes are only ever added.

In the file a session is

- a row of `views` called `judge:SESSION`, whose spec (JSON) says what is compared, of which run, by which criterion,
  seed and rule of ties, from how many pairings it was drawn, and the secret that the browser's tokens are made with;
- its `pairings`, in order; `item_key` says which case, repeat and settings they are of, and which variant is on which
  side;
- `votes`. One that was taken back, or replaced by another on the same pairing, is marked by `undone_by`, the vote that
  did it. Taking back is a row of its own, a skip that is undone by itself. Pairs that are tied without asking have
  a vote of the rater `identical`. `reasons` is a JSON list of texts, `{"note": ...}` and `{"differences": true}`;
- a row of `views` called `judge:SESSION:finished` for each rater who ended it. From then on the variants may be known,
  and no vote of that rater is taken.

Raters share a session's pairings, and vote each for themselves. SESSION is a hash of the spec and of what was drawn:
files in which the same was planned merge into one session, and others are kept apart.
"""

from __future__ import annotations

import json
import secrets
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, get_args

from promptlab import _text, judgements, ledger, pairings, results
from promptlab._json import canonical, compact, digest, readable, utf8
from promptlab.errors import RatingError
from promptlab.pairings import Draw, Item, Pairing, Tied, Variant
from promptlab.results import RunRow
from promptlab.store import Store
from promptlab.templates import PromptTemplate, TemplateWarning
from promptlab.verdicts import Choice, Verdict, Vote

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

#: The rater of pairs that are tied without asking.
IDENTICAL = "identical"
FINISHED = "this session is finished and its variants are known; another seed= begins a new one"
GONE = "this session is gone: its run was forgotten, and the pairings and votes with it"
CHOICES: tuple[Choice, ...] = get_args(Choice)
MOST_PAIRS = 1_000_000  # of one session; all are stored before the first is shown
CRITERION_CHARS = 10_000
MOST_REASONS, REASON_CHARS = 20, 100

_ASKED_FOR = ("run", "variants", "n", "criterion", "seed", "tied")  # what makes a call the same call


@dataclass(frozen=True, slots=True)
class Placed:
    """A pairing in its session."""

    id: int
    position: int
    pairing: Pairing
    is_mirror: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What a rater may see of a pairing.

    Attributes
    ----------
    system
        The system prompt, where all variants of the session have the same on this case; else None, since where only
        some share it, it would tell which two are shown.
    """

    inputs: tuple[tuple[str, str], ...]
    system: str | None
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rater stands: how many pairings are voted on, of how many, and the median time of a vote."""

    done: int
    total: int
    median_s: float | None


class Session:
    """One blind rating session, as it is in the file."""

    def __init__(self, store: Store, run: RunRow, session: str, spec: Mapping[str, Any]) -> None:
        self.store = store
        self.run = run
        self.id = session
        self.spec = spec

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What is compared."""
        return tuple(self.spec["variants"])

    @property
    def criterion(self) -> str:
        """What the rater is asked to go by."""
        return str(self.spec["criterion"])

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """Every pairing in order, those that were tied without asking at the end."""
        rows = self.store.read(_PAIRINGS, {"session": self.id, "identical": IDENTICAL})
        found, seen = [], set()
        for row in rows:
            key = json.loads(row["item_key"])
            pairing = Pairing.of_key(key, row["left_id"], row["right_id"], is_identical=bool(row["is_identical"]))
            found.append(Placed(row["id"], row["position"], pairing, (pairing.item, pairing.pair) in seen))
            seen.add((pairing.item, pairing.pair))
        return tuple(found)

    @cached_property
    def asked(self) -> tuple[Placed, ...]:
        """The pairings that are asked."""
        return tuple(placed for placed in self.placed if not placed.pairing.is_identical)

    @cached_property
    def _by_id(self) -> dict[int, Placed]:
        return {placed.id: placed for placed in self.placed}

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted since it was opened, as it is when its run is forgotten."""
        return not self.store.read(_THERE, self._there)

    def _refuse_gone(self) -> None:
        if self.is_gone:
            raise RatingError(GONE)

    @property
    def _there(self) -> dict[str, Any]:
        return {"name": f"judge:{self.id}", "run": self.run.uid}

    # Voting

    def next(self, rater: str) -> Placed | None:
        """Return the first pairing that this rater has not voted on, or None.

        Raises
        ------
        RatingError
            When the session is gone.
        """
        self._refuse_gone()
        rows = self.store.read(_NEXT, {"session": self.id, "rater": rater, "identical": IDENTICAL})
        return self._by_id[rows[0][0]] if rows else None

    def progress(self, rater: str) -> Progress:
        """Return where a rater stands."""
        votes = [vote for vote in self.votes(rater) if not vote.pairing.is_identical]
        return Progress(len(votes), len(self.asked), self._verdict(votes).median_s)

    def votes(self, rater: str) -> list[Vote]:
        """Return a rater's standing votes, and those of pairs tied without asking, in the order of the pairings."""
        rows = self.store.read(_STANDING, {"session": self.id, "rater": rater, "identical": IDENTICAL})
        newest = {row["pairing_id"]: row for row in rows}  # by id: a later one counts
        return sorted((_vote(row, self._by_id[key]) for key, row in newest.items()), key=lambda vote: vote.position)

    def vote(
        self,
        rater: str,
        pairing_id: int,
        choice: Choice,
        *,
        strength: int = 1,
        reasons: Sequence[str] = (),
        note: str = "",
        saw_differences: bool = False,
        ms: int | None = None,
        now_s: float | None = None,
    ) -> None:
        """Store a vote; one that stands on the same pairing already is replaced by it, an equal one left as it is.

        Raises
        ------
        RatingError
            When what is said is no vote, the session is finished for this rater or gone, or the pairing is not one of
            it.
        """
        _check_vote(choice, strength, reasons, saw_differences, ms)
        note = judgements.note_text(note)
        if pairing_id not in self._by_id or self._by_id[pairing_id].pairing.is_identical:
            msg = f"pairing {pairing_id!r} is not asked in this session"
            raise RatingError(msg)
        said = [
            *map(utf8, reasons),
            *([{"note": note}] if note else []),
            *([{"differences": True}] if saw_differences else []),
        ]
        row = {
            "pairing_id": pairing_id,
            "rater": rater,
            "choice": choice,
            "strength": strength if choice in {"left", "right"} else None,
            "reasons": compact(said) if said else None,
            "ms": ms,
            "created_at": _stamp(now_s),
        }
        self._write(rater, partial(_add_vote, row=row))

    def undo(self, rater: str, *, now_s: float | None = None) -> Vote | None:
        """Take the rater's last standing vote back and return it; None when there is none.

        Where files were merged, a pairing can have several standing votes of one rater: all of them are taken back.
        """
        undone = self._write(rater, partial(_undo, session=self.id, rater=rater, at=_stamp(now_s)))
        return None if undone is None else _vote(undone, self._by_id[undone["pairing_id"]])

    def finish(self, rater: str, *, how: str | None = None, now_s: float | None = None) -> None:
        """End the session for a rater: from now on the variants may be known, and no vote is taken.

        `how` says how a rater that is a model was asked.
        """
        spec = compact({"rater": rater} if how is None else {"rater": rater, "how": how})
        add = partial(_finish, name=f"judge:{self.id}:finished", rater=rater, spec=spec, at=_stamp(now_s))
        self.store.write(partial(self._while_there, add)).result()

    def is_finished(self, rater: str) -> bool:
        """Whether this rater has ended the session."""
        return bool(self.store.read(_FINISHED, {"name": f"judge:{self.id}:finished", "rater": rater}))

    def finished_how(self, rater: str) -> str | None:
        """Return how a rater that is a model was asked when it ended the session; None where that is not told."""
        rows = self.store.read(_HOW, {"name": f"judge:{self.id}:finished", "rater": rater})
        return rows[0][0] if rows else None

    def _write(self, rater: str, operation: Callable[[sqlite3.Connection], Any]) -> Any:
        finished = {"name": f"judge:{self.id}:finished", "rater": rater}

        def guarded(connection: sqlite3.Connection) -> Any:
            if connection.execute(_FINISHED, finished).fetchone():
                raise RatingError(FINISHED)
            return operation(connection)

        return self.store.write(partial(self._while_there, guarded)).result()

    def _while_there(self, operation: Callable[[sqlite3.Connection], Any], connection: sqlite3.Connection) -> Any:
        if not connection.execute(_THERE, self._there).fetchone():
            raise RatingError(GONE)
        return operation(connection)

    # What is shown before the end

    def shown(self, placed: Placed, columns: Sequence[str]) -> Shown:
        """Return what a rater sees of a pairing: some columns of its case, and the two texts."""
        self._refuse_gone()
        texts = self.texts(placed.pairing)
        case = self._case(placed.pairing.item.case)
        names = results.case_columns(self.run)
        inputs = tuple((column, _as_text(case.get(names[column]))) for column in columns)
        return Shown(inputs, self._shared_system(placed.pairing.item), *texts)

    def _shared_system(self, item: Item) -> str | None:
        """Return the system prompt of an item where all variants have the same, answered or not; else None."""
        compared = [{**dict(item.settings), **variant} for variant in self.variants]
        samples = [
            row["sample_id"]
            for row in self._prompts[item.case]
            if any(all(row[name] == each.get(name, row[name]) for name in _PROMPT) for each in compared)
        ]
        systems = {_system(_messages(row[0])) for row in self.store.read(_BODIES, (compact(samples),))}
        return systems.pop() if len(systems) == 1 else None

    @cached_property
    def _prompts(self) -> dict[int, list[Any]]:
        """A sample of each template for each case."""
        found = defaultdict(list)
        for row in self.store.read(_PROMPTS, (self.run.id,)):
            found[row["case_index"]].append(row)
        return dict(found)

    @cached_property
    def _case_ids(self) -> dict[int, int]:
        return {row[0]: row[1] for row in self.store.read(_CASE_IDS, (self.run.id,))}

    def _case(self, index: int) -> dict[str, Any]:
        rows = self.store.read("select inputs from cases where id = ?", (self._case_ids[index],))
        return json.loads(rows[0][0])  # type: ignore[no-any-return]  # JSON of our own

    def texts(self, pairing: Pairing) -> tuple[str, str]:
        """Return the two texts, the left one first."""
        both = (pairing.left_id, pairing.right_id)
        texts = {row["id"]: row["text"] for row in self.store.read(_TEXTS, both)}
        return texts[both[0]], texts[both[1]]

    def messages(self, output_id: int) -> list[dict[str, Any]]:
        """Return the messages that an output answers."""
        return _messages(self.store.read(_BODY, (output_id,))[0][0])

    # What came out, after the end

    def verdict(self, rater: str) -> Verdict:
        """Return what a rater's votes say; they have to be finished."""
        self.refuse_blind(rater)
        return self.so_far(rater)

    def so_far(self, rater: str) -> Verdict:
        """Return what a rater's votes say, finished or not: for a rater that nothing has to be kept from."""
        return self._verdict(self.votes(rater))

    def raters(self) -> list[str]:
        """Return who has voted, by name."""
        return [row[0] for row in self.store.read(_RATERS, {"session": self.id, "identical": IDENTICAL})]

    @property
    def settings(self) -> list[str]:
        """The settings that are equal on both sides of a pairing."""
        return [name for name, _ in self.placed[0].pairing.item.settings]

    def _verdict(self, votes: Sequence[Vote]) -> Verdict:
        return Verdict(self.variants, tuple(votes), len(self.asked), self.criterion)

    def frame(self, rater: str) -> pd.DataFrame:
        """Return one row a standing vote, in the order asked, with the variants revealed."""
        return self.verdict(rater).frame(self.settings)

    def refuse_blind(self, rater: str) -> None:
        """Raise while this rater has not ended the session: what would be told has to stay unknown."""
        self._refuse_gone()
        if not self.is_finished(rater):
            progress = self.progress(rater)
            msg = (
                f"the session is blind until it is finished: {progress.done} of {progress.total} judged;"
                " judge.finish() ends it and reveals the variants"
            )
            raise RatingError(msg)


_PAIRINGS = """
select id, item_key, left_id, right_id, position, exists (
  select 1 from votes where pairing_id = pairings.id and rater = :identical) as is_identical
from pairings where session = :session order by position
"""
_NEXT = """
select id from pairings
where session = :session and not exists (
  select 1 from votes where pairing_id = pairings.id and rater in (:rater, :identical) and undone_by is null)
order by position limit 1
"""
_STANDING = """
select votes.* from pairings join votes on votes.pairing_id = pairings.id
where session = :session and rater in (:rater, :identical) and undone_by is null order by votes.id
"""
_RATERS = """
select distinct rater from pairings join votes on votes.pairing_id = pairings.id
where session = :session and rater != :identical and undone_by is null order by rater
"""
_TEXTS = "select id, text from outputs where id in (?, ?)"
_BODY = """
select body from outputs join samples on samples.id = outputs.sample_id
join requests on requests.id = samples.request_id where outputs.id = ?
"""
_PROMPT = ("template", "version")  # the settings that say which prompt was sent
# One sample does: the messages of a template are the same with all parameters.
_PROMPTS = """
select case_index, name as template, version, min(sample_id) as sample_id
from trials join templates on templates.id = template_id where run_id = ? group by case_index, template_id
"""
_BODIES = """
select body from samples join requests on requests.id = samples.request_id
where samples.id in (select value from json_each(?))
"""
_THERE = """
select 1 from views where name = :name
and exists (select 1 from runs where uid = :run and status != 'forgotten')
"""
_CASE_IDS = "select distinct case_index, case_id from trials where run_id = ?"
_FINISHED = "select 1 from views where name = :name and json_extract(spec, '$.rater') = :rater"
_HOW = """
select json_extract(spec, '$.how') from views where name = :name and json_extract(spec, '$.rater') = :rater
order by id limit 1
"""


# Sessions


def opened(
    store: Store,
    run: RunRow,
    *,
    a: Variant | None,
    b: Variant | None,
    by: str | Sequence[str] | None,
    n: int,
    criterion: str,
    seed: int,
    tied: Tied,
    now_s: float | None = None,
) -> Session:
    """Return the session of a call: the one it began, or else a new one, planned and stored.

    Raises
    ------
    RatingError
        When there is nothing to compare.
    """
    _check_asked(n, criterion, seed, tied)
    criterion = utf8(criterion)
    rows, columns = _trials(store, run), results.setting_columns(run)
    variants = pairings.variants(rows, columns, a=a, b=b, by=by)
    asked = {"run": run.uid, "variants": variants, "n": n, "criterion": criterion, "seed": seed, "tied": tied}
    if found := _found(store.read(_SESSIONS), asked):
        return Session(store, run, *found)
    draw = pairings.drawn(pairings.answers(rows, columns, variants), n=n, seed=seed, tied=tied)
    if not draw.pairings:
        msg = (
            f"no case was answered by both of two variants ({draw.missing:,} lack a side): there is nothing to compare"
        )
        raise RatingError(msg)
    session, spec = _named_session(asked, draw, {row["output_id"]: row["output"] for row in rows})
    plan = partial(_plan, asked=asked, session=session, spec=spec, draw=draw, at=_stamp(now_s))
    return Session(store, run, *store.write(plan).result())


_TEMPLATES = "select name, messages from templates where id in (select template_id from trials where run_id = ?)"


def inputs_used(store: Store, run: RunRow) -> list[str]:
    """Return the columns of the cases that the run's prompts use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TemplateWarning)  # said when the template was made
        templates = [_template(name, json.loads(text)) for name, text in store.read(_TEMPLATES, (run.id,))]
    used = {name for template in templates for name in template.variables}
    return [column for column, name in results.case_columns(run).items() if name in used]


def _template(name: str, messages: list[dict[str, Any]]) -> PromptTemplate:
    is_text = messages[0]["role"] == "text"
    return PromptTemplate(name, text=messages[0]["content"]) if is_text else PromptTemplate(name, messages=messages)


def _trials(store: Store, run: RunRow) -> list[dict[str, Any]]:
    frame = results.trial_frame(store, run)
    columns = [*results.setting_columns(run), "case", "repeat", "output", "output_id"]
    return (
        [dict(zip(columns, row, strict=True)) for row in frame[columns].itertuples(index=False)] if len(frame) else []
    )


def _named_session(asked: Mapping[str, Any], draw: Draw, texts: Mapping[int, str]) -> tuple[str, dict[str, Any]]:
    """Return a session's name, which depends on nothing that differs between two files, and its spec."""
    drawn = [[pairing.key, texts[pairing.left_id], texts[pairing.right_id]] for pairing in draw.pairings]
    spec = {**asked, "mirrored": pairings.MIRRORED, "possible": draw.possible, "missing": draw.missing}
    return digest([asked, drawn])[:16], {**spec, "secret": secrets.token_hex(16)}


_SESSIONS = "select name, spec from views where name glob 'judge:*' and name not glob 'judge:*:*' order by id"
_ADD_VIEW = "insert into views (name, spec, created_at) values (?, ?, ?)"
_ADD_PAIRING = """
insert into pairings (session, item_key, left_id, right_id, seed, position, created_at)
values (:session, :item_key, :left_id, :right_id, :seed, :position, :created_at)
"""
_ADD_VOTE = """
insert into votes (pairing_id, rater, choice, strength, reasons, ms, created_at)
values (:pairing_id, :rater, :choice, :strength, :reasons, :ms, :created_at)
"""


def _found(rows: Iterable[Any], asked: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the oldest session that was asked for in the same way; one that a merge brought in is newer."""
    wanted = canonical(dict(asked))
    for name, text in rows:
        spec = json.loads(text)
        if canonical({key: spec.get(key) for key in _ASKED_FOR}) == wanted:
            return name.removeprefix("judge:"), spec
    return None


def _plan(
    connection: sqlite3.Connection,
    *,
    asked: Mapping[str, Any],
    session: str,
    spec: Mapping[str, Any],
    draw: Draw,
    at: str,
) -> tuple[str, Mapping[str, Any]]:
    """Store a session, unless another process just did."""
    if found := _found(connection.execute(_SESSIONS), asked):
        return found
    connection.execute(_ADD_VIEW, (f"judge:{session}", compact(spec), at))
    for position, pairing in enumerate(draw.pairings):
        row = {"session": session, "item_key": pairing.key, "left_id": pairing.left_id, "right_id": pairing.right_id}
        added = connection.execute(
            _ADD_PAIRING, {**row, "seed": spec["seed"], "position": position, "created_at": at}
        ).lastrowid
        if pairing.is_identical:
            tie = {"pairing_id": added, "rater": IDENTICAL, "choice": "tie", "created_at": at}
            connection.execute(_ADD_VOTE, {**tie, "strength": None, "reasons": None, "ms": None})
    return session, spec


_OF_PAIRING = """
select id, choice, strength, reasons from votes
where pairing_id = :pairing_id and rater = :rater and undone_by is null order by id
"""
_UNDO = "update votes set undone_by = ? where id = ?"
_LAST = """
select votes.* from votes join pairings on pairings.id = votes.pairing_id
where session = ? and rater = ? and undone_by is null order by votes.id desc limit 1
"""


def _add_vote(connection: sqlite3.Connection, *, row: Mapping[str, Any]) -> None:
    standing = connection.execute(_OF_PAIRING, row).fetchall()
    if standing and standing[-1][1:] == (row["choice"], row["strength"], row["reasons"]):
        return  # sent again, since its answer did not arrive
    added = connection.execute(_ADD_VOTE, row).lastrowid
    connection.executemany(_UNDO, [(added, vote[0]) for vote in standing])


def _undo(connection: sqlite3.Connection, *, session: str, rater: str, at: str) -> dict[str, Any] | None:
    cursor = connection.execute(_LAST, (session, rater))
    last = cursor.fetchone()
    if last is None:
        return None
    vote = dict(zip([column[0] for column in cursor.description], last, strict=True))
    mark = {"pairing_id": vote["pairing_id"], "rater": rater, "choice": "skip", "created_at": at}
    standing = connection.execute(_OF_PAIRING, mark).fetchall()
    undo = connection.execute(_ADD_VOTE, {**mark, "strength": None, "reasons": None, "ms": None}).lastrowid
    connection.executemany(_UNDO, [(undo, undo), *((undo, each[0]) for each in standing)])
    return vote


def _finish(connection: sqlite3.Connection, *, name: str, rater: str, spec: str, at: str) -> None:
    if not connection.execute(_FINISHED, {"name": name, "rater": rater}).fetchone():
        connection.execute(_ADD_VIEW, (name, spec, at))


def _stamp(now_s: float | None) -> str:
    return ledger.timestamp(time.time() if now_s is None else now_s)


# Rows and values


def _check_asked(n: Any, criterion: Any, seed: Any, tied: Any) -> None:
    problems = {
        f"n={_text.brief(n)}: how many pairs to compare, from 1 to {MOST_PAIRS:,}": type(n) is int
        and 1 <= n <= MOST_PAIRS,
        f"criterion={_text.brief(criterion)}: a text of at most {CRITERION_CHARS:,} characters that says what to go"
        " by": isinstance(criterion, str) and len(criterion) <= CRITERION_CHARS,
        f"seed={_text.brief(seed)}: a whole number": type(seed) is int and abs(seed) < 2**63,
        f"tied={_text.brief(tied)}: say {' or '.join(map(repr, get_args(Tied)))}": tied in get_args(Tied),
    }
    if wrong := [problem for problem, is_right in problems.items() if not is_right]:
        raise RatingError("; ".join(wrong))


def _check_vote(choice: Any, strength: Any, reasons: Any, saw_differences: Any, ms: Any) -> None:
    if not isinstance(choice, str) or choice not in CHOICES:
        near = _text.nearest(str(choice), CHOICES)
        msg = (
            f"{_text.brief(choice)} is no vote; say {', '.join(CHOICES)}{f' (did you mean {near!r}?)' if near else ''}"
        )
        raise RatingError(msg)
    problems = {
        f"strength={_text.brief(strength)}: 1 is better, 2 is much better": type(strength) is int
        and strength in (1, 2),
        f"saw_differences={_text.brief(saw_differences)}: True or False is needed": isinstance(saw_differences, bool),
        f"ms={_text.brief(ms)}: whole milliseconds, or None where the time is not known": ms is None
        or (type(ms) is int and 0 <= ms < 2**53),
    }
    if wrong := [problem for problem, is_right in problems.items() if not is_right]:
        raise RatingError("; ".join(wrong))
    check_reasons(reasons)


def check_reasons(reasons: Any) -> None:
    """Raise where reasons are no short texts."""
    is_list = isinstance(reasons, Sequence) and not isinstance(reasons, str | bytes)
    if is_list and len(reasons) <= MOST_REASONS and all(_is_reason(reason) for reason in reasons):
        return
    msg = (
        f"reasons={_text.brief(reasons)}: a list of at most {MOST_REASONS} texts of 1 to {REASON_CHARS} characters is"
        ' needed, as in ["facts", "tone"]'
    )
    raise RatingError(msg)


def _is_reason(reason: Any) -> bool:
    return isinstance(reason, str) and 0 < len(reason) <= REASON_CHARS


def _vote(row: Any, placed: Placed) -> Vote:
    said = json.loads(row["reasons"] or "[]")
    marks = {name: value for mark in said if isinstance(mark, dict) for name, value in mark.items()}
    return Vote(
        placed.pairing,
        placed.position,
        row["rater"],
        row["choice"],
        row["strength"],
        tuple(reason for reason in said if isinstance(reason, str)),
        marks.get("note", ""),
        bool(marks.get("differences", False)),
        row["ms"],
        placed.is_mirror,
        row["created_at"],
    )


def _messages(body: str) -> list[dict[str, Any]]:
    sent = json.loads(body)
    return sent.get("messages") or [{"role": "user", "content": sent.get("prompt")}]


def _system(messages: Iterable[Mapping[str, Any]]) -> str | None:
    texts = [_as_text(each.get("content")) for each in messages if each.get("role") in {"system", "developer"}]
    return "\n\n".join(texts) or None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else readable(value)
