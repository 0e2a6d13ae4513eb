"""Versions of a prompt: which there are, where each was used, and which one `support@6` means. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from promptlab import _text, tokens
from promptlab._json import canonical, compact
from promptlab.errors import NotFoundError
from promptlab.store import Store
from promptlab.templates import PromptTemplate, content_text, variables_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RunName:
    """A run that asked a version."""

    id: int
    name: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a template, and where it was used.

    Attributes
    ----------
    parent
        The version it was derived from, as `support@6`, or the beginning of its key where the file does not hold it.
    runs
        The runs that asked it, the oldest first.
    answers
        How many samples of it are answered.
    parameters
        The values that these runs set, by parameter.
    """

    id: int
    name: str
    number: int
    key: str
    messages: tuple[Mapping[str, Any], ...]
    created_at: str
    parent: str | None
    note: str
    runs: tuple[RunName, ...]
    answers: int
    parameters: Mapping[str, tuple[Any, ...]]

    @property
    def label(self) -> str:
        """Its name and number: `support@7`."""
        return f"{self.name}@{self.number}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that its slots read, sorted."""
        return variables_of(self.messages)

    @property
    def tokens(self) -> int:
        """About how many tokens it is before its slots are filled: an estimate from its bytes."""
        texts = [content_text(message) for message in self.messages]
        return tokens.estimate(sum(len(text.encode(errors="replace")) for text in texts), messages=len(texts))

    def template(self) -> PromptTemplate:
        """Return it as a template, to run it or to derive another from it."""
        return _template(self.name, self.messages, self.note)

    def __repr__(self) -> str:
        return f"<Version {self.label}: {_text.count(len(self.runs), 'run')}, {_text.count(self.answers, 'answer')}>"

    def _repr_html_(self) -> str:
        rows = [(message["role"], content_text(message)) for message in self.messages]
        return _text.html_card(self.label, _text.html_messages(rows), note=self.note)


def _template(name: str, messages: tuple[Mapping[str, Any], ...], note: str) -> PromptTemplate:
    is_text = [message["role"] for message in messages] == ["text"]
    return PromptTemplate(
        name,
        messages=None if is_text else messages,
        text=messages[0]["content"] if is_text else None,
        note=note,
    )


_ALL = "select id, name, version, key, messages, created_at, parent_key, note from templates order by name, version"
_RUNS = "select id, name, created_at, plan from runs where status != 'forgotten' order by id"
_ANSWERS = """
select template_id, count(distinct sample_id) from trials cross join samples on samples.id = trials.sample_id
where trials.run_id in (select value from json_each(:runs))
  and trials.template_id in (select value from json_each(:ids)) and samples.state = 'done'
group by template_id
"""


class Versions(Sequence[Version]):
    """The versions of a template, the oldest first, or of all templates; `frame()` has them as a table."""

    def __init__(self, versions: Iterable[Version], title: str) -> None:
        self._versions = tuple(versions)
        self._title = title

    def frame(self) -> pd.DataFrame:
        """Return one row a version: name, version, when and where it was used, answers, tokens, parent, note, key."""
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        columns = ["name", "version", "created_at", "runs", "first_run", "last_run", "answers", "messages"]
        rows = [
            (
                *(each.name, each.number, each.created_at, len(each.runs), _run_name(each.runs[:1])),
                *(_run_name(each.runs[-1:]), each.answers, len(each.messages), ", ".join(each.variables)),
                *(each.tokens, each.parent, each.note, each.key),
            )
            for each in self
        ]
        return pd.DataFrame(rows, columns=[*columns, "variables", "tokens_estimate", "parent", "note", "key"])

    @overload
    def __getitem__(self, index: int) -> Version: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Version]: ...
    def __getitem__(self, index: int | slice) -> Version | Sequence[Version]:
        return self._versions[index]

    def __len__(self) -> int:
        return len(self._versions)

    def __repr__(self) -> str:
        table = _text.text_table([_version_facts(each) for each in self], head=_VERSION_HEAD) if len(self) else ""
        return f"<Versions {self._title}>\n{table}".rstrip()

    def _repr_html_(self) -> str:
        table = _text.html_table([_version_facts(each) for each in self], head=_VERSION_HEAD) if len(self) else ""
        return _text.html_card(f"Versions · {self._title}", table)


_VERSION_HEAD = ("version", "first asked", "runs", "last run", "answers", "about tokens", "variables", "from", "note")


def _version_facts(version: Version) -> tuple[Any, ...]:
    return (
        version.label,
        version.created_at[:16].replace("T", " "),
        len(version.runs),
        _text.clipped(_run_name(version.runs[-1:]) or "", 40),
        f"{version.answers:,}",
        f"{version.tokens:,}",
        ", ".join(version.variables),
        version.parent or "",
        _text.clipped(version.note, 60),
    )


def _run_name(runs: Sequence[RunName]) -> str | None:
    return runs[0].name if runs else None


def versions(store: Store, name: str | None = None) -> Versions:
    """Return the versions of a template, the oldest first; without a name those of all templates.

    Raises
    ------
    NotFoundError
        With the nearest name.
    """
    found = [row for row in store.read(_ALL) if name in {None, row["name"]}]
    if name is not None and not found:
        raise NotFoundError(_no_name(store, name))
    number = _text.count(len(found), "version")
    templates = _text.count(len({row["name"] for row in found}), "template")
    title = f"{templates if name is None else name}: {number}" if found else "no template was asked yet"
    return Versions(_read(store, found), title)


def find(store: Store, version: str | PromptTemplate | Version) -> Version:
    """Return a version by `support@6`, or by `support` the newest; a template stands for the version it is.

    Raises
    ------
    NotFoundError
        With the nearest name, or the versions there are.
    """
    if isinstance(version, Version):
        return version
    name, number, key = _asked(store, version)
    rows = [row for row in store.read(_ALL) if row["name"] == name]
    if not rows:
        raise NotFoundError(_no_name(store, name))
    matching = [row for row in rows if number in {None, row["version"]} and key in {None, row["key"]}]
    if not matching:
        there = f"{name}@1" if len(rows) == 1 else f"{name}@{rows[0]['version']} to {name}@{rows[-1]['version']}"
        asked = (
            f"version {number} of template {name!r}"
            if number is not None
            else f"{name!r} as it is now, which was never asked"
        )
        msg = f"{store.path} holds no {asked}; it has {there}"
        raise NotFoundError(msg)
    return _read(store, matching[-1:])[0]


def templates(store: Store, keys: Iterable[tuple[str, str]]) -> list[PromptTemplate]:
    """Return the templates of some names and keys of messages, without looking for where they were used."""
    stored = {(row["name"], row["key"]): row for row in store.read(_ALL)}
    found = []
    for name, key in keys:
        if (name, key) not in stored:
            msg = f"{store.path} does not hold the messages of template {name!r} any more"
            raise NotFoundError(msg)
        row = stored[name, key]
        found.append(_template(name, tuple(json.loads(row["messages"])), row["note"]))
    return found


def find_id(store: Store, version_id: int) -> Version:
    """Return the version of a row id."""
    rows = [row for row in store.read(_ALL) if row["id"] == version_id]
    if not rows:
        msg = f"no version of id {version_id!r} in {store.path}; lab.versions() lists them"
        raise NotFoundError(msg)
    return _read(store, rows)[0]


_DIGITS = 18  # more than any version has, and Python refuses to read more than 4,300


def _asked(store: Store, version: str | PromptTemplate) -> tuple[str, int | None, str | None]:
    """Return name, number and key of what is asked for; a name may itself hold an @."""
    if isinstance(version, PromptTemplate):
        return version.name, None, version.key
    if not isinstance(version, str):
        msg = f"{_text.brief(version)} names no version; write 'support@6', or 'support' for the newest"
        raise NotFoundError(msg)
    name, at, number = version.rpartition("@")
    if not at or store.read("select 1 from templates where name = ? limit 1", (version,)):
        return version, None, None
    if not number.isdecimal() or len(number) > _DIGITS:
        brief = f"{_text.brief(version)} names no version: {_text.brief(number)}"
        msg = f"{brief} is no number; write '{name}@1', or {name!r} for the newest"
        raise NotFoundError(msg)
    return name, int(number), None


def _no_name(store: Store, name: str) -> str:
    names = [row[0] for row in store.read("select name from templates group by name order by max(id) desc")]
    near = _text.nearest(name, names)
    newest = f"the newest are {', '.join(map(repr, names[:5]))}" if names else "it holds none yet"
    return f"no template {name!r} in {store.path}; {f'did you mean {near!r}?' if near else newest}"


def _read(store: Store, rows: Sequence[Any]) -> list[Version]:
    """Return stored versions with the runs that asked them."""
    keys = {(row["name"], row["key"]) for row in rows}
    runs, cells = _runs_of(store, keys)
    run_ids = {run.id for some in runs.values() for run in some}
    ids = {"runs": compact(sorted(run_ids)), "ids": compact([row["id"] for row in rows])}
    answers = {row[0]: row[1] for row in store.read(_ANSWERS, ids)}
    parents = _parents(store)
    return [
        Version(
            id=row["id"],
            name=row["name"],
            number=row["version"],
            key=row["key"],
            messages=tuple(json.loads(row["messages"])),
            created_at=row["created_at"],
            parent=_parent(row, parents),
            note=row["note"],
            runs=tuple(runs[row["name"], row["key"]]),
            answers=answers.get(row["id"], 0),
            parameters=_values(cells[row["name"], row["key"]]),
        )
        for row in rows
    ]


def _runs_of(store: Store, keys: set[tuple[str, str]]) -> tuple[dict[Any, list[RunName]], dict[Any, list[Any]]]:
    """Return name and key -> the runs that asked it, and their cells."""
    runs: dict[Any, list[RunName]] = {key: [] for key in keys}
    cells: dict[Any, list[Any]] = {key: [] for key in keys}
    for run_id, name, created_at, text in store.read(_RUNS):
        plan = json.loads(text)
        for key in map(tuple, plan["templates"]):
            if key in keys:
                runs[key].append(RunName(run_id, name, created_at))
                cells[key] += plan["cells"]
    return runs, cells


def _values(cells: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return every parameter with the values it took, sorted by name; equal numbers are one value."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for name, value in cell.items():
            found.setdefault(name, {}).setdefault(canonical(value), value)
    return {name: tuple(found[name].values()) for name in sorted(found)}


def _parents(store: Store) -> dict[tuple[str, str], str]:
    """Return name and key -> label, and under an empty name any label of the key."""
    found: dict[tuple[str, str], str] = {}
    for name, version, key in store.read("select name, version, key from templates order by id desc"):
        found[name, key] = found["", key] = f"{name}@{version}"
    return found


def _parent(row: Any, labels: Mapping[tuple[str, str], str]) -> str | None:
    key = row["parent_key"]
    return None if key is None else labels.get((row["name"], key)) or labels.get(("", key)) or str(key)[:8]
