"""The blind rating panel: two answers side by side, without a word of where they came from until the end.

What reaches a browser before the session is finished: an opaque token of the pairing, the columns of the case that the
user named, the system prompt where all variants have the same, the two texts cut at the same length, and how many are
judged. A token is an HMAC with the session's own secret, so it says nothing, and holds when the kernel is restarted: a
vote that could not be sent then is sent to the next kernel.
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from promptlab import _text, judging, preferences, results
from promptlab._json import compact, utf8
from promptlab.errors import RatingError
from promptlab.judgements import NOTE_CHARS, rater_name
from promptlab.judging import FINISHED, GONE, IDENTICAL, Placed, Progress, Session, Shown
from promptlab.panels._panel import LIVE_HINT, Panel, operation
from promptlab.preferences import Exported, PromptOf
from promptlab.verdicts import Choice, Verdict

if TYPE_CHECKING:
    import pandas as pd

# What is sent of a pair unasked: the first state is part of the widget, and has to stay below 100 kB.
SIDE_BYTES = 25_000
INPUTS_BYTES = 15_000  # all columns
SYSTEM_BYTES = 10_000
CRITERION_BYTES = 6_000
WHOLE = 40  # times as much is sent when the whole is asked for: 1 MB of each answer
CUT = " … (cut)"
Reason = Annotated[str, Field(min_length=1, max_length=judging.REASON_CHARS)]
Reasons = Annotated[tuple[Reason, ...], Field(max_length=judging.MOST_REASONS)]
Token = Annotated[str, Field(max_length=64)]


class Judge(Panel):
    """A blind pairwise rating session, as one rater sees it. `run.judge(...)` opens one.

    In a notebook it is a panel; the same can be done in Python:

    >>> import tempfile
    >>> from promptlab.testing import sample_lab
    >>> with tempfile.TemporaryDirectory() as folder, sample_lab(f"{folder}/sample.db") as lab:
    ...     judge = lab.load("capitals").judge(a={"template": "terse"}, b={"template": "chatty"})
    ...     while (pair := judge.pair) is not None:
    ...         judge.vote("left" if len(pair.left) < len(pair.right) else "right")
    ...     judge.finish().win_rate
    1 [0.439, 1]
    """

    view = "judge"
    label = "Blind rating"

    def __init__(self, session: Session, *, rater: str | None, show: Sequence[str], reasons: Sequence[str]) -> None:
        super().__init__()
        self._session = session
        self.rater = rater_name(rater)
        if self.rater == IDENTICAL:
            msg = f"rater={rater!r}: name whoever judges; {IDENTICAL!r} stands for pairs that need no judging"
            raise RatingError(msg)
        judging.check_reasons(reasons)
        self._show = _checked_columns(session, show)
        self._reasons = tuple(reasons)

    # In Python

    @property
    def pair(self) -> Shown | None:
        """What is to be judged next: `inputs`, `system`, `left`, `right`; None when everything is judged."""
        placed = None if self.is_finished else self._next()
        return None if placed is None else self._session.shown(placed, self._show)

    @property
    def progress(self) -> Progress:
        """How many pairings are judged, of how many."""
        return self._session.progress(self.rater)

    @property
    def is_finished(self) -> bool:
        """Whether the session was ended, and the variants may be known."""
        return self._session.is_finished(self.rater)

    def vote(
        self,
        choice: Choice,
        *,
        strength: int = 1,
        reasons: Sequence[str] = (),
        note: str = "",
        ms: int | None = None,
    ) -> None:
        """Vote on the next pair.

        Parameters
        ----------
        choice
            `left` or `right` is better, `tie`, both are `bad`, or `skip`.
        strength
            1 is better, 2 is much better.
        ms
            How long it took, in milliseconds.
        """
        with self._lock:
            placed = self._next()
            if placed is None:
                msg = "everything is judged; judge.finish() says what came out, judge.undo() takes the last vote back"
                raise RatingError(FINISHED if self.is_finished else msg)
            said: dict[str, Any] = {"strength": strength, "reasons": reasons, "note": note, "ms": ms}
            self._session.vote(self.rater, placed.id, choice, **said)
        self._tell()

    def undo(self) -> None:
        """Take the last vote back; its pair is asked again. Any number of times."""
        if self._session.undo(self.rater) is None:
            msg = "there is no vote to take back"
            raise RatingError(msg)
        self._tell()

    def finish(self) -> Verdict:
        """End the session, and return what came out. No vote is taken afterwards."""
        self._session.finish(self.rater)
        self._tell()
        return self.result()

    def result(self) -> Verdict:
        """Return what came out: win rate or ranking with intervals, position bias, self-agreement, time.

        Raises
        ------
        RatingError
            Before the session is finished, since it would tell the variants apart.
        """
        return self._session.verdict(self.rater)

    def frame(self) -> pd.DataFrame:
        """Return one row a vote, in the order asked, with the variants revealed; only after `finish`.

        `preferred` is the variant that was preferred, `mirrored` whether the pair had been asked before with its sides
        exchanged. Votes that were taken back are left out (they stay in the table `votes`); pairs that were tied
        without asking have the rater `identical`.
        """
        return self._session.frame(self.rater)

    def to_jsonl(self, path: str | Path, *, prompt: PromptOf = "chosen") -> Exported:
        """Write chosen and rejected answers as JSON lines for preference training; only after `finish`.

        A line is `{"prompt": [messages], "chosen": [message], "rejected": [message]}`. Ties, skips and mirrored repeats
        are left out and counted.

        Parameters
        ----------
        prompt
            Where the two answers had different prompts: `chosen` takes the messages of the better one, `shared` only
            those messages that both have; pairs that share no message of the user are then left out.
        """
        return preferences.write(self._session, self.rater, path, prompt=prompt)

    # In a browser

    def first(self) -> dict[str, Any]:
        """Return the state: where the rater stands, and the pair to judge, or what came out."""
        progress, is_finished, is_gone = self.progress, self.is_finished, self._session.is_gone
        placed = None if is_finished or is_gone else self._next()
        left_s = None if progress.median_s is None else progress.median_s * (progress.total - progress.done)
        return {
            "session": self._sealed("session"),
            "criterion": _cut(self._session.criterion, CRITERION_BYTES),
            "reasons": self._reasons,
            "done": progress.done,
            "total": progress.total,
            "left_s": left_s,
            "pair": None if placed is None else self._drawn(placed),
            "gone": GONE if is_gone else None,
            "result": _drawn_result(self.result()) if is_finished else None,
        }

    @operation
    def cast(
        self,
        *,
        token: Token,
        choice: Choice,
        strength: Annotated[int, Field(ge=1, le=2)] = 1,
        reasons: Reasons = (),
        note: Annotated[str, Field(max_length=NOTE_CHARS)] = "",
        saw_differences: bool = False,
        ms: Annotated[int, Field(ge=0, lt=2**53)] | None = None,
    ) -> dict[str, Any]:
        """Store a vote on the pairing of a token; return the new state, with the next pair."""
        placed = self._of_token(token)
        said: dict[str, Any] = {"strength": strength, "reasons": reasons, "note": note, "ms": ms}
        self._session.vote(self.rater, placed.id, choice, saw_differences=saw_differences, **said)
        self._tell()
        return self.first()

    @operation
    def take_back(self) -> dict[str, Any]:
        """Take the last vote back; return the new state."""
        self.undo()
        return self.first()

    @operation
    def reveal(self) -> dict[str, Any]:
        """End the session; return the new state, with the result."""
        self.finish()
        self.renew()
        return self.first()

    @operation
    def whole(self, *, token: Token) -> dict[str, Any]:
        """Return a pair of which some text was cut with much more of it."""
        return self._drawn(self._of_token(token), times=WHOLE)

    def _of_token(self, token: str) -> Placed:
        placed = self._tokens.get(token)
        if placed is None:
            msg = "this pair is not in this session; run the cell again"
            raise RatingError(msg)
        return placed

    def _ipython_display_(self) -> None:
        """Show it so that `reveal` can renew it: a notebook that is saved after the end holds what came out."""
        self.display()

    def _tell(self) -> None:
        if "widget" in self.__dict__:  # other pages, and a panel whose votes are cast in Python
            self.send(self.first())

    # Before the end nothing below may tell one variant from another

    def snapshot(self) -> str:
        """Return how far the rater is, and the result only when the session is finished."""
        if self.is_finished:
            return _text.html_card("Blind rating", self.result().html(), note="finished")
        return _text.html_card("Blind rating", _text.html_table(self._facts()), note=LIVE_HINT)

    def __repr__(self) -> str:
        if self.is_finished:
            return repr(self.result())
        return f"<Judge {_text.brief(self._session.criterion)}: {self._judged()}>"

    def _judged(self) -> str:
        if self._session.is_gone:
            return GONE
        return f"{self.progress.done:,} of {self.progress.total:,} judged"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("rater", self.rater), ("criterion", self._session.criterion), ("progress", self._judged())]
        return [(what, said) for what, said in facts if said]

    def _next(self) -> Placed | None:
        return self._session.next(self.rater)

    def _drawn(self, placed: Placed, times: int = 1) -> dict[str, Any]:
        shown = self._session.shown(placed, self._show)
        inputs = [_cut(text, times * INPUTS_BYTES // len(shown.inputs)) for _, text in shown.inputs]
        system = shown.system and _cut(shown.system, times * SYSTEM_BYTES)
        left, right = _cut_alike(shown.left, shown.right, times * SIDE_BYTES)
        whole = [*(text for _, text in shown.inputs), shown.system, shown.left, shown.right]
        return {
            "token": self._token(placed),
            "inputs": [[name, text] for (name, _), text in zip(shown.inputs, inputs, strict=True)],
            "system": system,
            "left": left,
            "right": right,
            "is_cut": [*inputs, system, left, right] != whole,
        }

    @cached_property
    def _tokens(self) -> dict[str, Placed]:
        return {self._token(placed): placed for placed in self._session.asked}

    def _token(self, placed: Placed) -> str:
        return self._sealed(f"pairing {placed.position}")

    def _sealed(self, text: str) -> str:
        secret = f"{self._session.spec['secret']}:{self.rater}".encode()
        return hmac.new(secret, text.encode(), "sha256").hexdigest()[:24]


def _cut_alike(left: str, right: str, most_bytes: int) -> tuple[str, str]:
    """Return both texts, cut after the same number of characters where either is too long."""
    fitting = [(_fitting(text, most_bytes), len(text)) for text in (left, right)]
    most = min((chars for chars, length in fitting if chars < length), default=None)
    return left[:most], right[:most]


def _cut(text: str, most_bytes: int) -> str:
    most = _fitting(text, most_bytes)
    return text if most == len(text) else text[:most] + CUT


def _fitting(text: str, most_bytes: int) -> int:
    """Return how many of a text's characters fit into so many bytes of JSON in UTF-8."""
    places = range(min(len(text), most_bytes) + 1)
    return bisect_right(places, most_bytes, key=lambda chars: len(compact(utf8(text[:chars])).encode()) - 2) - 1


def _checked_columns(session: Session, show: Any) -> tuple[str, ...]:
    columns = results.case_columns(session.run)
    names = [show] if isinstance(show, str) or not isinstance(show, Iterable) else list(show)
    unknown = [name for name in names if not isinstance(name, str) or name not in columns]
    if unknown:
        known = ", ".join(columns) or "there are none"
        msg = f"show={_text.brief(unknown[0])}: only columns of the cases can be shown, which no variant tells: {known}"
        raise RatingError(msg)
    return tuple(names)


def _drawn_result(verdict: Verdict) -> dict[str, Any]:
    rate = verdict.win_rate
    return {
        "labels": verdict.labels,
        "rate": rate and {"estimate": rate.estimate, "low": rate.low, "high": rate.high},
        "facts": verdict.facts(),
        "rows": verdict.rows(),
    }
