"""Preferences: what a finished rating session says, as pairs of a chosen and a rejected answer to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from promptlab import _text
from promptlab._json import compact
from promptlab.errors import RatingError
from promptlab.judging import Session
from promptlab.verdicts import Vote

#: Whose messages are the prompt of a pair: those of the chosen answer, or those that both answers have.
PromptOf = Literal["chosen", "shared"]

_NO_PROMPT = "without a shared prompt"
_UNDECIDED = {"tie": "tied", "bad": "both bad", "skip": "skipped"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export of preferences wrote.

    Attributes
    ----------
    left_out
        How many votes are no preference, and why.
    """

    path: Path
    pairs: int
    left_out: Mapping[str, int]

    def __repr__(self) -> str:
        return f"<Exported {_text.count(self.pairs, 'pair')} to {self.path}{_text.left_out(self.left_out)}>"


def write(session: Session, rater: str, path: str | Path, *, prompt: PromptOf) -> Exported:
    """Write one JSON object a line, in the form that preference training takes; refuses to overwrite.

    `{"prompt": [messages], "chosen": [one assistant message], "rejected": [one assistant message]}`, the conversational
    form of TRL's preference data sets. Ties of all kinds, skips and mirrored repeats are left out and counted.
    """
    if prompt not in get_args(PromptOf):
        msg = f"prompt={_text.brief(prompt)}: say 'chosen' (the messages of the better answer) or 'shared'"
        raise RatingError(msg)
    pairs, left_out = preferences(session, rater, prompt=prompt)
    target = Path(path)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.writelines(f"{compact(pair)}\n" for pair in pairs)
    except FileExistsError as exc:
        msg = f"{target} exists; remove it or name another file"
        raise RatingError(msg) from exc
    return Exported(target, len(pairs), left_out)


def preferences(session: Session, rater: str, *, prompt: PromptOf) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the pairs of a rater who is finished, and how many votes are none and why."""
    session.refuse_blind(rater)
    pairs, left_out = [], Counter[str]()
    counted = {vote.position for vote in session.verdict(rater).counted}
    for vote in session.votes(rater):
        why = _UNDECIDED.get(vote.choice) or (None if vote.position in counted else "mirrored")
        pair = None if why else _pair(session, vote, prompt)
        if pair is None:
            left_out[why or _NO_PROMPT] += 1
        else:
            pairs.append(pair)
    return pairs, dict(sorted(left_out.items()))


def _pair(session: Session, vote: Vote, prompt: PromptOf) -> dict[str, Any] | None:
    """Return a vote as a pair, or None when the two answers share no message of a user."""
    texts, ids = session.texts(vote.pairing), (vote.pairing.left_id, vote.pairing.right_id)
    chosen, rejected = (0, 1) if vote.choice == "left" else (1, 0)
    messages = session.messages(ids[chosen])
    if prompt == "shared":
        others = session.messages(ids[rejected])
        messages = [message for message in messages if message in others]
        if not any(message.get("role") == "user" for message in messages):
            return None
    return {"prompt": messages, "chosen": [_said(texts[chosen])], "rejected": [_said(texts[rejected])]}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
