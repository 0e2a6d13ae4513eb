"""What a scorer is: its name, its whole configuration, and a function of an answer.

A score is 0 where the answer is at fault: nothing in it can be read as asked, and `detail["reason"]` says what. It is
failed, neither value nor label, where the fault lies elsewhere: the case has no reference, a function raised, a pattern
took too long. A failed score is data; it never stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from promptlab import _text
from promptlab._json import digest, utf8
from promptlab.errors import ScoreError

REASON_CHARS = 500
_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as scorers see it.

    Attributes
    ----------
    text
        What the model wrote; empty where it wrote no text, as in a refusal or a tool call.
    case
        The case's columns, references among them. Not to be changed: other answers share it.
    flags
        As in `run.frame()`: length, refusal, blank, ...
    cost_usd, latency_ms, prompt_tokens, completion_tokens, reasoning_tokens, total_tokens
        None where unknown.
    output_id, case_id
        The row ids under which the score is stored.
    """

    text: str
    case: Mapping[str, Any]
    finish_reason: str | None = None
    flags: tuple[str, ...] = ()
    cost_usd: float | None = None
    latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    output_id: int = 0
    case_id: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """What one scorer says of one answer: a number, a label, or both; neither when it failed.

    Attributes
    ----------
    detail
        What to know of how it came about: `extracted`, `reason`, `error` of a failed one, and what a function adds.
    """

    value: float | None = None
    label: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def failed(cls, reason: str | BaseException) -> Score:
        """Return a failed score with its reason."""
        words = reason if isinstance(reason, str) else _raised(reason)
        return cls(detail={"error": utf8(_text.clipped(words, REASON_CHARS))})

    @property
    def is_failed(self) -> bool:
        """Whether there is neither a value nor a label."""
        return self.value is None and self.label is None


@dataclass(frozen=True)
class Scorer:
    """A named function of an answer, with all that its scores depend on.

    `exact_match(...)` and its like make one; a scorer that cannot score answers one by one, because it has to ask a
    model first, overrides `score_all`.

    Attributes
    ----------
    name
        The column of `run.frame()` that its scores have.
    config
        JSON: the kind of scorer and every option. With the name it makes the key, under which scores are stored.
    function
        What scores an answer; it may raise.
    columns
        The columns of the cases that it needs.
    """

    name: str
    config: Mapping[str, Any]
    function: Callable[[Answered], Score] = field(repr=False, compare=False)
    columns: tuple[str, ...] = ()

    #: How many answers `score_all` is given at once; None is all of the run, those with a score too.
    batch: ClassVar[int | None] = 1_000

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name.strip() or len(name) > _NAME_CHARS or name != _text.visible(name):
            msg = f"name={_text.brief(name)}: a scorer's name is a text of 1 to {_NAME_CHARS} visible characters"
            raise ScoreError(msg)

    @property
    def key(self) -> str:
        """The digest of name and configuration, 64 hex digits: scores of equal keys are equal."""
        return digest({"name": self.name, **self.config})

    def score(self, answer: Answered) -> Score:
        """Return the score of one answer; what is raised on the way makes it a failed one."""
        try:
            return self.function(answer)
        except Exception as exc:  # noqa: BLE001 - whatever a user's function raises is that score's failure
            return Score.failed(exc)

    def score_all(self, answers: Sequence[Answered]) -> Iterable[Score]:
        """Return one score an answer, in order; they are stored as they come, `batch` at a time."""
        return map(self.score, answers)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={_text.brief(value)}" for name, value in self.config.items() if name != "scorer")
        return f"<Scorer {self.name}: {options}>"


def _raised(exc: BaseException) -> str:
    try:
        words = str(exc)
    except Exception:  # noqa: BLE001 - an exception of the user's may fail to describe itself
        words = ""
    return f"{type(exc).__name__}: {words}" if words else type(exc).__name__
