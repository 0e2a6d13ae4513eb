"""Everything promptlab raises, as one tree.

    PromptlabError
    ├── TemplateError          a template cannot be built, read or rendered
    ├── GridError              a parameter has an unknown name or a value out of range
    ├── CaseError              the cases cannot be read
    ├── PlanError              a plan is refused before anything is sent; lists every problem
    ├── BackendError           no answer can be had from here
    │   ├── MissingKeyError    no API key was found
    │   ├── LocalModelError    the local model cannot be fetched or started
    │   └── OfflineError       the file does not hold the answer that was asked for
    ├── StoreError             the SQLite file cannot be read or written
    │   └── ReadOnlyError      the file can be read but not written
    ├── SearchError            a search cannot be understood
    ├── ComparisonError        a comparison matrix cannot be laid out as asked
    ├── RatingError            a rating, note or view, or a session of ratings, cannot be taken or told as asked
    ├── ScoreError             a scorer cannot be made or applied as asked
    ├── NotFoundError          no run, request or template of that name or id
    └── RunError               a run ended early, and `on_error="stop"` asked to hear of it

A message says what went wrong, with the value, and then what to do. Facts are kept as attributes.
A failed trial is data (its status, its error, every attempt), not an exception.
"""

from __future__ import annotations

from collections.abc import Sequence


class PromptlabError(Exception):
    """The base of every error that promptlab raises."""


class PromptlabWarning(UserWarning):
    """The base of every warning that promptlab gives."""


class StoreWarning(PromptlabWarning):
    """The SQLite file works, but not as it should."""


class _ProblemsError(PromptlabError):
    """An error that lists every problem at once.

    Attributes
    ----------
    problems
        One sentence each, in the order found; the message shows the first twenty.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(_listed(self.problems))


class TemplateError(_ProblemsError):
    """A template cannot be built, read or rendered."""


class GridError(_ProblemsError):
    """A parameter grid has an unknown name, a value out of range, or no cells."""


class CaseError(_ProblemsError):
    """The cases cannot be read, or a value in them cannot be put into a prompt."""


class PlanError(_ProblemsError):
    """A plan is refused before anything is sent; `problems` lists every reason."""


class BackendError(PromptlabError):
    """No answer can be had from this backend."""


class MissingKeyError(BackendError):
    """No API key was found; the message names the ways to give one, and the local model."""


class LocalModelError(BackendError):
    """The local model cannot be fetched or started."""


class OfflineError(BackendError):
    """The file does not hold the answer that was asked for.

    Attributes
    ----------
    nearest
        The id of the stored request that is nearest, or None.
    differs
        The fields in which that request differs from the one asked for.
    """

    def __init__(self, message: str, *, nearest: int | None = None, differs: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.nearest = nearest
        self.differs = tuple(differs)


class StoreError(PromptlabError):
    """The SQLite file cannot be read or written."""


class ReadOnlyError(StoreError):
    """The SQLite file can be read but not written."""


class SearchError(_ProblemsError):
    """A search cannot be understood; `problems` lists every reason."""


class ComparisonError(_ProblemsError):
    """A comparison matrix cannot be laid out as asked; `problems` lists every reason."""


class RatingError(PromptlabError):
    """A rating, note, pin or view, or a session of ratings, cannot be taken, planned or told as asked."""


class ScoreError(_ProblemsError):
    """A scorer cannot be made, or not be applied to these cases; `problems` lists every reason."""


class NotFoundError(PromptlabError, LookupError):
    """No run, request or template of that name or id."""


class RunError(PromptlabError):
    """A run ended early, and `on_error="stop"` asked to hear of it."""


_SHOWN = 20  # problems in a message; more would hide the first ones


def _listed(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems):,} problems:", *(f"- {problem}" for problem in problems[:_SHOWN])]
    more = len(problems) - _SHOWN
    return "\n".join([*lines, f"... and {more:,} more"] if more > 0 else lines)
