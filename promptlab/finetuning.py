"""Fine-tuning data: chosen answers of a run with the messages they answer, one example a line.

The form is that of OpenAI's supervised fine-tuning of chat models, which many others read too:
`{"messages": [..., {"role": "assistant", "content": "..."}], "tools": [...]}`. The answer is the last message. Answers
that the prompt itself holds (few-shot examples) get `"weight": 0`, so that only the chosen one is learned from.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptlab import _text, exports, judgements
from promptlab._json import compact
from promptlab.attempts import redact
from promptlab.errors import ExportError
from promptlab.judgements import Judgement
from promptlab.results import chunks
from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd

#: Which trials: a query on the columns of `run.frame()`, a value or several a column, or a boolean a row.
Where = str | Mapping[str, Any] | Sequence[bool]
#: A thumb up, or so many stars at least.
Rated = Literal["up", 1, 2, 3, 4, 5]

FEWEST = 10  # examples that OpenAI takes in one file
_TOLD = 5  # problems that an error names
_HARMLESS = frozenset({"no_usage", "tool_calls"})  # flags of an answer that is whole and the model's own


@dataclass(frozen=True, slots=True)
class Choice:
    """Which answers are chosen; see `promptlab.outlets.Outlets.finetuning`, which describes each."""

    where: Where | None = None
    min_score: Mapping[str, float] | None = None
    rated: Rated | None = None
    pinned: bool = False
    flags: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.rated is not None and (isinstance(self.rated, bool) or self.rated not in get_args(Rated)):
            msg = f"rated={_text.brief(self.rated)}: 'up' (a thumb), or 1 to 5 (stars at least) is needed"
            raise ExportError(msg)
        if isinstance(self.flags, str):
            msg = f"flags={self.flags!r}: a list of flags is needed, e.g. flags=[{self.flags!r}]"
            raise ExportError(msg)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to train on.

    Attributes
    ----------
    left_out
        How many trials gave no example, and why.
    """

    path: Path
    examples: int
    left_out: Mapping[str, int]

    def __repr__(self) -> str:
        few = f"; OpenAI asks for {FEWEST} at least" if self.examples < FEWEST else ""
        wrote = f"{_text.count(self.examples, 'example')} to {self.path}"
        return f"<Written {wrote}{_text.left_out(self.left_out)}{few}>"


def write(store: Store, frame: pd.DataFrame, path: str | Path, choice: Choice, *, overwrite: bool = False) -> Written:
    """Write the chosen answers of a trial frame, one example a line; of equal examples the first alone.

    Raises
    ------
    ExportError
        Before anything is written: for an answer that holds what looks like a secret or that the format has no place
        for, for a choice that cannot be understood, and for a file that is there.
    """
    why = reasons(store, frame, choice)
    left_out = Counter(filter(None, why))
    chosen = frame.loc[[reason is None for reason in why], ["position", "output_id"]]
    lines: dict[str, None] = {}
    problems: list[str] = []
    for position, example in zip(chosen["position"], _examples(store, chosen["output_id"].tolist()), strict=True):
        line = compact(example)
        problems += [f"trial {position} {fault}" for fault in faults(example)]
        left_out["equal to another"] += line in lines
        lines[line] = None
    _refuse(problems)
    target = exports.save(path, "".join(f"{line}\n" for line in lines).encode(), overwrite=overwrite)
    return Written(target, len(lines), {reason: number for reason, number in sorted(left_out.items()) if number})


# Which answers


def reasons(store: Store, frame: pd.DataFrame, choice: Choice) -> list[str | None]:
    """Return for each trial the first reason why it gives no example, or None for those that are chosen."""
    ids = frame["output_id"].astype(object)
    told = judgements.current(store, frame["output_id"].dropna()) if choice.rated or choice.pinned else {}
    said = [told.get(key, judgements.NOTHING) for key in ids.where(ids.notna(), other=-1)]
    conditions: list[tuple[str, Sequence[bool]]] = [
        ("without an answer", (frame["status"] == "ok").tolist()),
        ("not asked for", _mask(frame, choice.where)),
        *(("below the score, or not scored", good) for good in _least(frame, choice.min_score or {})),
        ("not rated so", [_is_rated(each, choice.rated) for each in said]),
        ("not pinned", [each.pinned or not choice.pinned for each in said]),
    ]
    return [
        next((why for why, good in conditions if not good[place]), None) or _flagged(flags, choice.flags)
        for place, flags in enumerate(frame["flags"])
    ]


def _flagged(flags: str, allowed: Collection[str]) -> str | None:
    unwanted = [flag for flag in flags.split(", ") if flag and flag not in _HARMLESS and flag not in allowed]
    return f"flagged {unwanted[0]}" if unwanted else None


def _is_rated(said: Judgement, wanted: Rated | None) -> bool:
    """Whether whoever rated last said so."""
    if wanted is None or not said.ratings:
        return wanted is None
    value, scale = list(said.ratings.values())[-1]
    return scale == "thumbs" and value == 1 if wanted == "up" else scale == "stars" and value >= wanted


def _mask(frame: pd.DataFrame, where: Where | None) -> list[bool]:
    """Return whether each trial is asked for."""
    if where is None:
        return [True] * len(frame)
    if isinstance(where, Mapping):
        found = [_is_one_of(_column(frame, name), value) for name, value in where.items()]
        return [all(row) for row in zip(*found, strict=True)] if found else [True] * len(frame)
    return _booleans(_evaluated(frame, where) if isinstance(where, str) else where, len(frame))


def _is_one_of(column: pd.Series[Any], value: Any) -> list[bool]:
    wanted = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    return [bool(each) for each in column.isin(wanted)]


def _evaluated(frame: pd.DataFrame, query: str) -> Any:
    try:
        return frame.eval(query, engine="python")
    except Exception as exc:
        msg = f"where={_text.brief(query)} is no query on run.frame(): {_text.clipped(str(exc), 200)}"
        raise ExportError(msg) from exc


def _booleans(values: Any, rows: int) -> list[bool]:
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    column = pd.Series(values) if pd.api.types.is_list_like(values) else None
    if column is None or len(column) != rows or not column.dropna().map(pd.api.types.is_bool).all():
        msg = f"where={_text.brief(values)}: a query, a mapping, or one boolean for each of the {rows:,} rows is needed"
        raise ExportError(msg)
    return [each is not pd.NA and bool(each) for each in column.astype(object).where(column.notna(), other=False)]


def _least(frame: pd.DataFrame, least: Mapping[str, float]) -> list[list[bool]]:
    """Return for each score whether each trial has it; what is not known is below every bound."""
    import pandas as pd  # noqa: PLC0415 - see _booleans

    found = []
    for name, bound in least.items():
        column = _column(frame, name)
        if not pd.api.types.is_numeric_dtype(column):
            msg = f"min_score={{{name!r}: ...}}: that column holds no numbers; choose its values with where="
            raise ExportError(msg)
        found.append([bool(each) for each in (column >= bound).fillna(value=False)])
    return found


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name in frame.columns:
        return frame[name]
    near = _text.nearest(str(name), map(str, frame.columns))
    hint = f"did you mean {near!r}?" if near else "run.frame() shows the columns, run.score(...) adds scores"
    msg = f"run.frame() has no column {_text.brief(name)}; {hint}"
    raise ExportError(msg)


# Examples

_ANSWERS = """
select outputs.id, outputs.text, outputs.refusal, outputs.tool_calls, requests.endpoint,
  coalesce(attempts.sent_body, requests.body) as body
from outputs join attempts on attempts.id = outputs.attempt_id join requests on requests.id = attempts.request_id
where outputs.id in (select value from json_each(?))
"""
_TOOL_FIELDS = ("tools", "parallel_tool_calls", "functions")


def _examples(store: Store, output_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    for some in chunks(output_ids, 500):
        rows = {row["id"]: dict(row) for row in store.read(_ANSWERS, (json.dumps(list(map(int, some))),))}
        yield from (example(rows[key]) for key in some)


def example(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as an example: the messages as they were sent, the answer, and the tools on offer."""
    sent = json.loads(row["body"])
    if row["endpoint"] == "completions":
        return {"prompt": sent.get("prompt"), "completion": row["text"]}
    before = [
        {**message, "weight": 0} if message.get("role") == "assistant" else message for message in sent["messages"]
    ]
    calls = json.loads(row["tool_calls"] or "[]")
    content = row["text"] if row["text"] is not None else row["refusal"]
    answer = {"role": "assistant", **({"content": content} if content is not None else {})}
    return {
        "messages": [*before, {**answer, **({"tool_calls": calls} if calls else {})}],
        **{name: sent[name] for name in _TOOL_FIELDS if name in sent},
    }


_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_FIELDS = {"role", "content", "name", "weight", "refusal", "tool_calls", "tool_call_id", "function_call"}
_SECRET = re.compile(  # AWS, GitHub, Slack, private keys; those of model providers are known to `redact`
    r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}|\bxox[abpr]-[\w-]{10,}|PRIVATE KEY-----"
)


def faults(example: Mapping[str, Any]) -> list[str]:
    """Return what keeps an example from being used: what the format has no place for, and what looks like a secret.

    The checks of the format are those of OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning".

    >>> faults({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " "}]})
    ['has an empty answer']
    """
    if "messages" not in example:
        return ["is no chat request"]
    *before, answer = example["messages"]
    found = [fault for message in before for fault in _message_faults(message)]
    if not (answer.get("content") or "").strip() and not answer.get("tool_calls"):
        found.append("has an empty answer")
    text = compact(example)
    if _SECRET.search(text) or redact(text.encode(), (), key_like=True)[1]:
        found.append("holds what looks like a secret key")
    return found


def _message_faults(message: Mapping[str, Any]) -> Iterator[str]:
    if message.get("role") not in _ROLES:
        yield f"has a message of the unknown role {_text.brief(message.get('role'))}"
    if unknown := sorted(set(message) - _FIELDS):
        yield f"has a message with the unknown field {_text.brief(unknown[0])}"
    if not isinstance(message.get("content"), str | list) and not message.get("tool_calls"):
        yield "has a message without content"


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        rest = f", and {len(problems) - _TOLD:,} more" if len(problems) > _TOLD else ""
        told = "; ".join(problems[:_TOLD])
        msg = (
            f"nothing was written: {told}{rest}; leave them out with where=, e.g. a boolean for each row of run.frame()"
        )
        raise ExportError(msg)
