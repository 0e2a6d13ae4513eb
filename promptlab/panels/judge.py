"""The blind rating panel: two answers side by side, without a word of where they came from until the end.

What reaches a browser before the session is finished: an opaque token of the pairing, the columns of the case that the
user named, the system prompt where both sides have the same, the two texts cut at the same length, and how many are
judged. A token is an HMAC with the session's own secret, so it says nothing, and holds when the kernel is restarted: a
vote that could not be sent then is sent to the next kernel.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from promptlab import _text, preferences, results
from promptlab.errors import RatingError
from promptlab.judging import FINISHED, IDENTICAL, Placed, Progress, Session, Shown
from promptlab.panels._panel import LIVE_HINT, Panel, operation
from promptlab.preferences import Exported, PromptOf
from promptlab.verdicts import Choice, Verdict

if TYPE_CHECKING:
    import pandas as pd

SHOWN_CHARS = 20_000  # of each text; both are cut at the same length
Reasons = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20)]


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

    def __init__(self, session: Session, *, rater: str, show: Sequence[str], reasons: Sequence[str]) -> None:
        super().__init__()
        if not rater or rater == IDENTICAL:
            msg = f"rater={rater!r}: name whoever judges; {IDENTICAL!r} stands for pairs that need no judging"
            raise RatingError(msg)
        self._session = session
        self.rater = rater
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
        progress, is_finished = self.progress, self.is_finished
        placed = None if is_finished else self._next()
        left_s = None if progress.median_s is None else progress.median_s * (progress.total - progress.done)
        return {
            "session": self._sealed("session"),
            "criterion": self._session.criterion,
            "reasons": self._reasons,
            "done": progress.done,
            "total": progress.total,
            "left_s": left_s,
            "pair": None if placed is None else self._drawn(placed),
            "result": _drawn_result(self.result()) if is_finished else None,
        }

    @operation
    def cast(
        self,
        *,
        token: Annotated[str, Field(max_length=64)],
        choice: Choice,
        strength: Annotated[int, Field(ge=1, le=2)] = 1,
        reasons: Reasons = (),
        note: Annotated[str, Field(max_length=10_000)] = "",
        saw_differences: bool = False,
        ms: Annotated[int, Field(ge=0, lt=2**53)] | None = None,
    ) -> dict[str, Any]:
        """Store a vote on the pairing of a token; return the new state, with the next pair."""
        placed = self._tokens.get(token)
        if placed is None:
            msg = "this vote is on a pair that is not in this session; run the cell again"
            raise RatingError(msg)
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
        return self.first()

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
        return f"{self.progress.done:,} of {self.progress.total:,} judged"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("rater", self.rater), ("criterion", self._session.criterion), ("progress", self._judged())]
        return [(what, said) for what, said in facts if said]

    def _next(self) -> Placed | None:
        return self._session.next(self.rater)

    def _drawn(self, placed: Placed) -> dict[str, Any]:
        shown = self._session.shown(placed, self._show)
        return {
            "token": self._token(placed),
            "inputs": [[name, text[:SHOWN_CHARS]] for name, text in shown.inputs],
            "system": shown.system and shown.system[:SHOWN_CHARS],
            "left": shown.left[:SHOWN_CHARS],
            "right": shown.right[:SHOWN_CHARS],
            "is_cut": max(len(shown.left), len(shown.right)) > SHOWN_CHARS,
        }

    @cached_property
    def _tokens(self) -> dict[str, Placed]:
        return {self._token(placed): placed for placed in self._session.asked}

    def _token(self, placed: Placed) -> str:
        return self._sealed(f"pairing {placed.position}")

    def _sealed(self, text: str) -> str:
        secret = f"{self._session.spec['secret']}:{self.rater}".encode()
        return hmac.new(secret, text.encode(), "sha256").hexdigest()[:24]


def _checked_columns(session: Session, show: Sequence[str]) -> tuple[str, ...]:
    columns = results.case_columns(session.run)
    names = [show] if isinstance(show, str) else list(show)
    unknown = [name for name in names if name not in columns]
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
