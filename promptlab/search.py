"""Full text over every prompt and output in the file.

    refund window          both words, anywhere in the text; case and accents do not count
    "refund window"        the words side by side, in this order
    refund*                words that begin so
    =>  東京               no words of the index, or none that blanks divide: looked for as they stand, letter by letter

Words are looked up in the search index, newest first. What the index cannot tell (signs alone, scripts without blanks,
regular expressions, rows of a read-only file that were never indexed) is read through, newest first, for `SCAN_S` at
most. Whatever may be missing from a result stands in its notes.
"""

from __future__ import annotations

import json
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, overload

from promptlab import _text
from promptlab._json import utf8
from promptlab.errors import SearchError, StoreError
from promptlab.ledger import timestamp
from promptlab.store import Store

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

#: The columns of `lab.search(...).frame()`, in order.
COLUMNS: Mapping[str, str] = {
    "matched": "what holds the text: output or prompt",
    "snippet": "the words around the first matches",
    "run": "the newest run with this output, or this prompt",
    "template": "the template of that run's trial",
    "version": "the template's version",
    "model": "the model asked",
    "status": "ok, failed, stopped, running or todo, as in run.frame()",
    "created_at": "when the output came, or the prompt was last sent (UTC)",
    "rank": "how well the words fit, as SQLite's bm25: the smaller the better; missing for what was read through",
    "run_id": "row ids in the file, for lab.load(run_id), lab.request(request_id, attempt=attempt_id) and lab.sql",
    "trial_id": "",
    "sample_id": "",
    "output_id": "",
    "attempt_id": "the attempt that answered",
    "request_id": "",
}

Status = Literal["ok", "failed", "stopped", "running", "todo"]
Since = str | date | datetime | timedelta

Pattern = Union[re.Pattern[str], "_Expression"]

LIMIT = 1_000
CANDIDATES = 20_000  # index entries that filters are tried on; each costs some 10 µs
SCAN_S = 1.0  # for outputs, and as much for prompts
_PAGE = 2_000  # rows read at once
_SHOWN = 50  # hits in a rich display
_SNIPPET_TOKENS = 16
_AROUND = 60  # characters on either side of a match that was read through
_STATES = {"ok": "done", "running": "leased"}
_STATUS = {state: status for status, state in _STATES.items()}


@dataclass(frozen=True, slots=True)
class Hit:
    """One output, or one prompt, that matches. The attributes are described in `COLUMNS`.

    `parts` are the pieces of the snippet, each with whether it is a match.
    """

    matched: Literal["output", "prompt"]
    parts: tuple[tuple[str, bool], ...]
    run: str | None
    template: str | None
    version: int | None
    model: str
    status: str | None
    created_at: str | None
    rank: float | None
    run_id: int | None
    trial_id: int | None
    sample_id: int | None
    output_id: int | None
    attempt_id: int | None
    request_id: int

    @property
    def snippet(self) -> str:
        """The words around the first matches."""
        return "".join(text for text, _ in self.parts)


class SearchResults(Sequence[Hit]):
    """What was found, the newest first; `frame()` has it as a table.

    Attributes
    ----------
    notes
        Why there may be more, one sentence each; empty when this is all.
    """

    def __init__(self, text: str, hits: Sequence[Hit], notes: Sequence[str]) -> None:
        self.text = text
        self.notes = tuple(notes)
        self._hits = tuple(hits)

    def frame(self) -> pd.DataFrame:
        """Return one row a hit, with the columns that `COLUMNS` declares."""
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        rows = [[getattr(hit, name) for name in COLUMNS] for hit in self]
        ids = dict.fromkeys((name for name in COLUMNS if name.endswith("_id")), "Int64")
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**ids, "version": "Int64", "rank": "float64"})

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __repr__(self) -> str:
        rows = [(*_facts(hit), _marked(hit.parts, str, "›{}‹")) for hit in self[:_SHOWN]]
        table = f"\n{_text.text_table(rows, head=_HEAD)}" if rows else ""
        return "\n".join([f"<SearchResults {self._title()}>{table}", *self._remarks()])

    def _repr_html_(self) -> str:
        rows = [(*_facts(hit), _html_snippet(hit)) for hit in self[:_SHOWN]]
        table = _text.html_table(rows, head=_HEAD) if rows else ""
        remarks = _text.html_list(self._remarks()) if self._remarks() else ""
        return _text.html_card(self._title(), table + remarks)

    def _title(self) -> str:
        outputs = sum(hit.matched == "output" for hit in self)
        found = f"{_text.count(outputs, 'output')} and {_text.count(len(self) - outputs, 'prompt')}"
        return f"{_text.brief(self.text)}: {found}"

    def _remarks(self) -> list[str]:
        more = len(self) - _SHOWN
        return [*self.notes, *([f"{more:,} older ones are in .frame()"] if more > 0 else [])]


def search(
    store: Store,
    text: str,
    *,
    model: str | None = None,
    template: str | None = None,
    since: Since | None = None,
    status: Status | None = None,
    regex: bool = False,
    limit: int = LIMIT,
    now_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResults:
    """Return the newest outputs and the newest prompts that hold a text, at most `limit` of each.

    Raises
    ------
    SearchError
        Listing every option that cannot be understood.
    """
    if not isinstance(text, str):
        msg = f"search({_text.brief(text)}): a text to look for is needed"
        raise SearchError(msg)
    filters = _filters(model=model, template=template, since=since, status=status, limit=limit, now_s=now_s)
    query = _expression(text) if regex else _words(text)
    if not query.patterns:
        return SearchResults(text, [], ["nothing to look for; give a word, or lab.sql() lists everything there is"])
    with suppress(StoreError):  # read only, or no space: what the index lacks is read through
        store.index()
    hits: list[Hit] = []
    notes: list[str] = []
    for place in _PLACES:
        found = _Search(store, place, query, filters, clock)
        hits += found.hits()
        notes += found.notes
    return SearchResults(text, sorted(hits, key=lambda hit: hit.created_at or "", reverse=True), notes)


# Among some outputs alone


@dataclass(frozen=True, slots=True)
class Found:
    """Which of some outputs hold a text.

    Attributes
    ----------
    ranks
        Output id -> how well the words fit, as SQLite's bm25 (the smaller the better); NaN where it was not asked for,
        or the output was read through.
    patterns
        What finds the matches in a text; none of them when there was nothing to look for.
    notes
        Why there may be more, one sentence each.
    match
        What the index was asked, where it alone found everything.
    """

    text: str
    ranks: Mapping[int, float]
    patterns: Sequence[Pattern]
    notes: Sequence[str] = ()
    match: str | None = None

    @property
    def terms(self) -> list[str]:
        """What was typed, term by term; one that stands for all words that begin so ends in `*`."""
        return [(found[1] or "") + found[2] if found[1] else found[3] for found in _TERM.finditer(self.text)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the matches stand in a text, the first hundred, none inside another."""
        found = sorted(
            match.span() for pattern in self.patterns for match in islice(pattern.finditer(text), _MARKS) if match[0]
        )
        spans: list[tuple[int, int]] = []
        for begins, ends in found:
            if not spans or begins >= spans[-1][1]:
                spans.append((begins, ends))
        return spans[:_MARKS]


_MARKS = 100
_RANKED = "select rowid, {rank} from outputs_fts where outputs_fts match ? and rowid between ? and ?"
_SOME_TEXTS = "select outputs.id, text from json_each(?) as wanted cross join outputs on outputs.id = wanted.value"


def outputs_with(
    store: Store,
    text: str,
    outputs: Sequence[int],
    *,
    is_ranked: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Return which of some outputs hold a text; it is read as `search` reads it.

    What the index does not know yet is read through, for `SCAN_S` at most.
    """
    query = _words(text)
    if not query.patterns or not outputs:
        return Found(text, {}, query.patterns)
    indexed_to = 0
    ranks: dict[int, float] = {}
    if query.match is not None:
        indexed_to = store.read(_INDEXED_TO.format(index="outputs_fts"))[0][0]
        sql = _RANKED.format(rank="rank" if is_ranked else "null")
        found = store.read(sql, (query.match, min(outputs), max(outputs)))
        among = set(outputs)
        ranks = {row[0]: float("nan") if row[1] is None else row[1] for row in found if row[0] in among}
    unread = {key: query.patterns for key in outputs if key > indexed_to}
    if query.unindexed:
        unread |= dict.fromkeys(ranks, query.unindexed)
    if not unread:
        return Found(text, ranks, query.patterns, match=query.match)
    until_s, kept = clock() + SCAN_S, set(ranks) - set(unread)
    notes: list[str] = []
    for rows in store.batches(_SOME_TEXTS, (json.dumps(sorted(unread)),)):
        if clock() > until_s:
            notes.append("time was up before all texts were read through; words are looked up much faster")
            break
        kept |= {key for key, held in rows if all(each.search(held or "") for each in unread[key])}
    ranks = {key: ranks.get(key, float("nan")) for key in kept}
    return Found(text, ranks, query.patterns, notes)


# What was asked for


@dataclass(frozen=True, slots=True)
class _Query:
    """A text to look for: what the index is asked, what it cannot be asked, and all of it as patterns."""

    match: str | None
    unindexed: tuple[Pattern, ...]
    patterns: tuple[Pattern, ...]


_TERM = re.compile(r'"([^"]+)"(\*?)|(\S+)')
# Scripts that do not put blanks between words: the index holds whole sentences of them as one word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")


def _words(text: str) -> _Query:
    """Read what a person typed. Every term is quoted for the index, so that none can be an operator."""
    match, unindexed, patterns = [], [], []
    for found in _TERM.finditer(utf8(text).replace("\0", "")):
        term, star = (found[1], found[2]) if found[1] else (found[3].rstrip("*"), found[3][len(found[3].rstrip("*")) :])
        if _is_indexed(term):
            match.append('"{}"{}'.format(term.replace('"', '""'), "*" if star else ""))
            patterns.append(_word_pattern(term, is_prefix=bool(star)))
        else:
            unindexed.append(re.compile(re.escape(found[1] or found[3]), re.IGNORECASE))
    return _Query(" ".join(match) or None, tuple(unindexed), (*patterns, *unindexed))


def _is_indexed(term: str) -> bool:
    """Whether the index divides texts into words that this term could be made of.

    It knows the letters and digits of Unicode 6.1; Python has the tables of 3.2, so a few go the slower way for sure.
    """
    has_words = any(unicodedata.ucd_3_2_0.category(char)[0] in "LN" for char in term)
    return has_words and not _UNSPACED.search(term)


def _word_pattern(term: str, *, is_prefix: bool) -> re.Pattern[str]:
    """Return what finds a term in a text that is not indexed, as the index would but for accents."""
    words = [re.escape(word) for word in re.split(r"[\W_]+", term) if word]
    end = "" if is_prefix else r"(?![^\W_])"
    return re.compile(r"(?<![^\W_])" + r"[\W_]+".join(words) + end, re.IGNORECASE)


class _Expression:
    """A regular expression of a user's, which may take for ever on some text: each look is ended after `SCAN_S`."""

    def __init__(self, text: str) -> None:
        import regex  # noqa: PLC0415 - only where it is used

        self._pattern = regex.compile(text, regex.VERSION0)

    def search(self, text: str, *around: int) -> re.Match[str] | None:
        """Return the first match; raise `TimeoutError` when it takes too long."""
        return self._pattern.search(text, *around, timeout=SCAN_S)  # type: ignore[no-any-return]  # it ships no types

    def finditer(self, text: str, *around: int) -> Iterator[re.Match[str]]:
        """Yield the matches; raise `TimeoutError` when one takes too long."""
        return self._pattern.finditer(text, *around, timeout=SCAN_S)  # type: ignore[no-any-return]  # see search


def _expression(text: str) -> _Query:
    import regex  # noqa: PLC0415 - see _Expression

    try:
        pattern = _Expression(text)
    except (regex.error, RecursionError, OverflowError) as exc:
        msg = f"{_text.brief(text)} is no regular expression: {exc}; leave out regex=True to look for it as it stands"
        raise SearchError(msg) from exc
    return _Query(None, (pattern,), (pattern,))


def _filters(
    *,
    model: str | None,
    template: str | None,
    since: Since | None,
    status: str | None,
    limit: int,
    now_s: float | None,
) -> dict[str, Any]:
    """Return the parameters of the queries below."""
    problems = [
        f"{name}={value!r}: its name is needed, as a text"
        for name, value in (("model", model), ("template", template))
        if not isinstance(value, str | None)
    ]
    if status is not None and status not in get_args(Status):
        problems.append(f"status={status!r}: one of {', '.join(map(repr, get_args(Status)))} is needed")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        problems.append(f"limit={limit!r}: a whole number from 1 is needed")
    since_at = None
    try:
        since_at = None if since is None else _since(since, time.time() if now_s is None else now_s)
    except (AttributeError, TypeError, ValueError, OverflowError):
        problems.append(f"since={since!r}: a date, a time or a timedelta is needed, e.g. '2026-11-24' (UTC)")
    if problems:
        raise SearchError(problems)
    state = _STATES.get(status or "", status)
    return {"model": model, "template": template, "since": since_at, "state": state, "limit": limit}


def _since(since: Since, now_s: float) -> str:
    """Return a time as the file has it; what names no zone is UTC, like all times that are shown."""
    if isinstance(since, timedelta):
        return timestamp(now_s - since.total_seconds())
    moment = datetime.fromisoformat(since if isinstance(since, str) else since.isoformat())
    return timestamp((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


# Where it is looked for


@dataclass(frozen=True, slots=True)
class _Place:
    """A table with a text, its index, and the query that tells what belongs to its rows."""

    matched: Literal["output", "prompt"]
    table: str
    index: str
    described: str


# The trial that stands for an output is the newest that shows it; one that was paid for twice may have none.
_OF_OUTPUTS = """
select {found}, runs.name as run, templates.name as template, templates.version, requests.model,
  samples.state as status, outputs.created_at, runs.id as run_id, trials.id as trial_id, samples.id as sample_id,
  outputs.id as output_id, attempts.id as attempt_id, attempts.request_id
from {source}
cross join samples on samples.id = outputs.sample_id
cross join attempts on attempts.id = outputs.attempt_id
cross join requests on requests.id = attempts.request_id
left join trials on trials.id = (
  select trial.id from trials as trial join templates on templates.id = trial.template_id
  where trial.sample_id = outputs.sample_id and coalesce(trial.output_id, samples.output_id) = outputs.id
    and (:template is null or templates.name = :template)
  order by trial.id desc limit 1)
left join templates on templates.id = trials.template_id
left join runs on runs.id = trials.run_id
where {condition} and (:model is null or requests.model = :model) and (:template is null or trials.id is not null)
  and (:state is null or samples.state = :state) and (:since is null or outputs.created_at >= :since)
order by {order} desc limit :limit + 1
"""
# The trial that stands for a prompt is the newest that asked it.
_ASKED_AT = "coalesce((select max(sent_at) from attempts where request_id = requests.id), runs.created_at)"
_OF_PROMPTS = f"""
select {{found}}, runs.name as run, templates.name as template, templates.version, requests.model,
  samples.state as status, {_ASKED_AT} as created_at,
  runs.id as run_id, trials.id as trial_id, samples.id as sample_id,
  coalesce(trials.output_id, samples.output_id) as output_id, requests.id as request_id,
  (select attempts.id from outputs cross join attempts on attempts.id = outputs.attempt_id
    where outputs.id = coalesce(trials.output_id, samples.output_id) and request_id = requests.id) as attempt_id
from {{source}}
left join trials on trials.id = (
  select trial.id from samples as sample join trials as trial on trial.sample_id = sample.id
  join templates on templates.id = trial.template_id
  where sample.request_id = requests.id and (:template is null or templates.name = :template)
    and (:state is null or sample.state = :state)
  order by trial.id desc limit 1)
left join samples on samples.id = trials.sample_id
left join templates on templates.id = trials.template_id
left join runs on runs.id = trials.run_id
where {{condition}} and (:model is null or requests.model = :model)
  and (coalesce(:template, :state) is null or trials.id is not null)
  and (:since is null or {_ASKED_AT} >= :since)
order by {{order}} desc limit :limit + 1
"""  # noqa: S608 - a query of our own
_PLACES = (
    _Place("output", "outputs", "outputs_fts", _OF_OUTPUTS),
    _Place("prompt", "requests", "requests_fts", _OF_PROMPTS),
)
_INDEXED_TO = "select coalesce(max(id), 0) from {index}_docsize"
_OLDEST = """
select min(rowid), count(*) from (
  select rowid from {index} where {index} match :match order by rowid desc limit {candidates})
"""
_MATCHING = """
select {table}.id, {table}.text from {index} cross join {table} on {table}.id = {index}.rowid
where {index} match :match order by {index}.rowid desc limit {candidates}
"""
_TEXTS = "select id, coalesce(text, '') from {table} where id > ? and id < ? order by id desc limit ?"
_BIGGEST = 2**63 - 1


class _Search:
    """One search in one place; `notes` grows with what it had to leave out."""

    def __init__(
        self,
        store: Store,
        place: _Place,
        query: _Query,
        filters: Mapping[str, Any],
        clock: Callable[[], float],
    ) -> None:
        self.notes: list[str] = []
        self._store = store
        self._place = place
        self._query = query
        self._filters = filters
        self._clock = clock
        # So that no text can hold the marks, and what is marked is what the index found
        self._open, self._close = (f"\x02{secrets.token_hex(6)}{kind}\x03" for kind in "ab")

    def hits(self) -> list[Hit]:
        """Return what was found, the newest first."""
        query, limit = self._query, self._filters["limit"]
        indexed_to = self._store.read(self._sql(_INDEXED_TO))[0][0]
        if query.match is None:
            hits = self._read_through(self._texts(above=0), query.patterns)
        else:
            hits = self._read_through(self._texts(above=indexed_to), query.patterns)
            hits += self._read_through(self._matching(), query.unindexed) if query.unindexed else self._looked_up()
        if len(hits) > limit:
            self.notes.append(f"more than {_text.count(limit, self._place.matched)} match; these are the newest")
        return hits[:limit]

    def _looked_up(self) -> list[Hit]:
        """Ask the index; it goes from the newest to the oldest and stops at the limit."""
        index, parameters = self._place.index, {"match": self._query.match, "oldest": 0}
        if any(self._filters[name] is not None for name in ("model", "template", "since", "state")):
            parameters["oldest"] = self._oldest_candidate()
        found = f"{index}.rank as rank, snippet({index}, 0, :open, :close, '…', {_SNIPPET_TOKENS}) as snippet"
        sql = self._place.described.format(
            found=found,
            source=f"{index} cross join {self._place.table} on {self._place.table}.id = {index}.rowid",
            condition=f"{index} match :match and {index}.rowid >= :oldest",
            order=f"{index}.rowid",
        )
        marks = {"open": self._open, "close": self._close}
        rows = self._store.read(sql, {**self._filters, **parameters, **marks})
        return [self._hit(row, row["rank"], self._parts(row["snippet"])) for row in rows]

    def _oldest_candidate(self) -> int:
        row = self._store.read(self._sql(_OLDEST), {"match": self._query.match})[0]
        if row[1] == CANDIDATES:
            self.notes.append(f"the filters were tried on the newest {CANDIDATES:,} matching {self._place.matched}s")
        return row[0] or 0

    def _read_through(self, texts: Iterator[tuple[int, str]], patterns: Sequence[Pattern]) -> list[Hit]:
        """Return the hits among texts that come newest first."""
        matching = ((key, text) for key, text in texts if self._holds(text, patterns))
        hits: list[Hit] = []
        while len(hits) <= self._filters["limit"] and (some := dict(islice(matching, self._filters["limit"] + 1))):
            table = self._place.table
            sql = self._place.described.format(
                found=f"{table}.id as id",
                source=table,
                condition=f"{table}.id in (select value from json_each(:ids))",  # noqa: S608 - a name of our own
                order=f"{table}.id",
            )
            rows = self._store.read(sql, {**self._filters, "ids": json.dumps(list(some))})
            hits += [self._hit(row, None, _excerpt(some[row["id"]], self._query.patterns)) for row in rows]
        return hits

    def _holds(self, text: str, patterns: Sequence[Pattern]) -> bool:
        try:
            return all(pattern.search(text) for pattern in patterns)
        except TimeoutError:
            self.notes.append(f"the expression takes too long on some {self._place.matched}s, which were left out")
            return False

    def _texts(self, *, above: int) -> Iterator[tuple[int, str]]:
        """Yield the rows above an id, the newest first, as long as there is time."""
        until_s, below, read = self._clock() + SCAN_S, _BIGGEST, 0
        while rows := self._store.read(self._sql(_TEXTS), (above, below, _PAGE)):
            for row in rows:
                if self._clock() > until_s:
                    nouns = _text.count(read, self._place.matched)
                    self.notes.append(f"time was up after {nouns}, the newest; words are looked up much faster")
                    return
                read, below = read + 1, row[0]
                yield row[0], row[1]

    def _matching(self) -> Iterator[tuple[int, str]]:
        """Yield the rows that the index finds, the newest first."""
        rows = self._store.read(self._sql(_MATCHING), {"match": self._query.match})
        if len(rows) == CANDIDATES:
            self.notes.append(f"looked through the newest {CANDIDATES:,} {self._place.matched}s with the words alone")
        yield from ((row[0], row[1] or "") for row in rows)

    def _sql(self, statement: str) -> str:
        return statement.format(table=self._place.table, index=self._place.index, candidates=CANDIDATES)

    def _hit(self, row: sqlite3.Row, rank: float | None, parts: tuple[tuple[str, bool], ...]) -> Hit:
        values = {name: row[name] for name in COLUMNS if name not in {"matched", "snippet", "rank"}}
        values["status"] = _STATUS.get(row["status"], row["status"])
        return Hit(matched=self._place.matched, rank=rank, parts=parts, **values)

    def _parts(self, snippet: str) -> tuple[tuple[str, bool], ...]:
        """Divide a snippet at the marks that the index put into it."""
        pieces = re.split(f"({re.escape(self._open)}|{re.escape(self._close)})", snippet)
        return tuple((text, at > 0 and pieces[at - 1] == self._open) for at, text in enumerate(pieces) if at % 2 == 0)


def _excerpt(text: str, patterns: Sequence[Pattern]) -> tuple[tuple[str, bool], ...]:
    """Return the surroundings of the first match, divided into what matches and what does not."""
    first = min((found for pattern in patterns if (found := pattern.search(text))), key=lambda found: found.start())
    start, end = max(0, first.start() - _AROUND), min(len(text), first.start() + 2 * _AROUND)
    spans: list[tuple[int, int]] = []
    with suppress(TimeoutError):
        for pattern in patterns:
            spans += (match.span() for match in islice(pattern.finditer(text, start, end), _AROUND))
    spans.sort()
    parts, at = [("…" if start else "", False)], start
    for begins, ends in spans:
        if begins >= at:
            parts += [(text[at:begins], False), (text[begins:ends], True)]
            at = ends
    return tuple(part for part in [*parts, (text[at:end] + ("…" if end < len(text) else ""), False)] if part[0])


_HEAD = ("matched", "run", "template", "model", "status", "when", "request", "attempt", "snippet")


def _facts(hit: Hit) -> tuple[str, ...]:
    when = (hit.created_at or "")[:16].replace("T", " ")
    known = (hit.matched, hit.run, hit.template, hit.model, hit.status, when, hit.request_id, hit.attempt_id)
    return tuple(_text.clipped("" if fact is None else str(fact), 40) for fact in known)


def _html_snippet(hit: Hit) -> _text.Html:
    return _text.Html(_marked(hit.parts, _text.escaped, "<mark>{}</mark>"))


def _marked(parts: Sequence[tuple[str, bool]], escaped: Callable[[str], str], mark: str) -> str:
    """Return a snippet on one line, every piece escaped before the matches are marked."""
    lines = [(escaped(re.sub(r"\s+", " ", text)), is_match) for text, is_match in parts]
    return "".join(mark.format(text) if is_match else text for text, is_match in lines)
