"""What a comparison is asked for, as one frozen value that can be saved as JSON and written as code.

A spec is checked in two steps: its form here, when it is made; its names against the axes of the runs in `fitted`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptlab import _text
from promptlab._json import plain
from promptlab.errors import ComparisonError
from promptlab.judgements import VALUES

if TYPE_CHECKING:
    from promptlab.comparison.axes import Axes, Axis

Show = Literal["all", "different", "same", "failed", "rated", "unrated", "pinned"]
SortBy = Literal[
    "plan",
    "label",
    "changed",
    "regressions",
    "disagreement",
    "score",
    "cost_usd",
    "latency_ms",
    "length",
    "rating",
    "rank",
]
Status = Literal["ok", "failed", "stopped", "running", "todo"]

#: What `ranges` may name.
NUMBERS = ("latency_ms", "cost_usd", "completion_tokens", "length", "score")
#: Every rating there can be.
RATINGS = tuple((scale, value) for scale, values in VALUES.items() for value in values)
MOST_COLUMNS = 100
REFERENCE = "reference"

_LEVELS = 2  # of rows, and of columns
_ASCENDING = ("plan", "label", "regressions", "rank")  # in their natural order; the others have the most first


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows are left: those in which one trial meets all of this; `values` takes trials out altogether.

    A rating is named with its scale, `("stars", 5)`; None is none.
    """

    show: Show = "all"
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    status: Sequence[str] = ()
    finish_reason: Sequence[str | None] = ()
    flags: Sequence[str] = ()
    ratings: Sequence[tuple[str, float] | None] = ()
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of the rows; `descending` None is the natural one, e.g. the most changed first."""

    by: SortBy = "plan"
    descending: bool | None = None
    column: tuple[Any, ...] | None = None

    @property
    def is_descending(self) -> bool:
        """Whether large values come first."""
        return self.by not in _ASCENDING if self.descending is None else self.descending


@dataclass(frozen=True, slots=True)
class Spec:
    """A layout of the comparison matrix.

    Attributes
    ----------
    rows, columns
        One or two axes each: what varies, by the names that `run.frame()` has, or `run`, `case`, `repeat`.
    repeats
        `fold` puts the repeats of a cell into it, `columns` gives each a column.
    baseline
        What every column is compared with: values of column axes (`{"template": "terse"}`; the other axes stay as in
        the column), all values of one column (`("terse", 0.7)`), a case column (`{"reference": "capital"}`), or None.
    hidden
        Columns that are not shown, by their values.
    scorer
        Whose scores are shown; None is the one that scored last.

    >>> Spec(rows="question", columns=["template", "temperature"]).json()["columns"]
    ['template', 'temperature']
    """

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    repeats: Literal["fold", "columns"] = "fold"
    baseline: Mapping[str, Any] | tuple[Any, ...] | None = None
    filters: Filters = field(default_factory=Filters)
    search: str = ""
    scorer: str | None = None
    sort: Sort = field(default_factory=Sort)
    hidden: tuple[tuple[Any, ...], ...] = ()
    density: Literal["S", "M", "L"] = "M"

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name, read in _READ.items():
            object.__setattr__(self, name, read(getattr(self, name), name, problems))
        if problems:
            raise ComparisonError(problems)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Spec:
        """Return the spec that some JSON stands for; fields may be left out."""
        return replace(cls(), **_known(values, [each.name for each in fields(cls)], "a comparison"))

    def changed(self, values: Mapping[str, Any]) -> Spec:
        """Return a spec with some fields replaced."""
        return replace(self, **_known(values, list(_READ), "a comparison"))

    def json(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return plain({**_shallow(self), "filters": _shallow(self.filters), "sort": _shallow(self.sort)})  # type: ignore[no-any-return]  # plain keeps a mapping one

    def code(self) -> str:
        """Return the arguments of `run.compare` that give it, without those that are as they would be anyway."""
        usual, mine = Spec().json(), self.json()
        for name in ("filters", "sort"):
            mine[name] = {key: value for key, value in mine[name].items() if value != usual[name][key]}
            usual[name] = {}
        for name in ("rows", "columns"):
            mine[name] = mine[name][0] if len(mine[name]) == 1 else mine[name]
        return ", ".join(f"{name}={value!r}" for name, value in mine.items() if value != usual[name])

    def fitted(self, axes: Axes, scorers: Sequence[str]) -> Spec:
        """Return the spec with its defaults filled in from what varies; a name that is none is an error.

        Values come out in the form that their axis has them in. Columns and values that are not there any more (hidden
        ones, the column of a sort) are let go without a word, since a saved view is used with other runs; of what
        somebody typed, `check_values` tells them.
        """
        rows = self.rows or axes.usual_rows
        spec = replace(self, rows=rows, columns=self.columns or axes.usual_columns(rows))
        columns = spec.columns
        if isinstance(self.baseline, tuple):
            spec = replace(spec, baseline=_whole_column(self.baseline, spec.levels))
        problems = [
            *(_unknown(name, axes.names, "rows") for name in rows),
            *(_unknown(name, axes.names, "columns") for name in columns),
            *(f"{name!r} is on rows and on columns; take it from one of them" for name in columns if name in rows),
            *(_unknown(name, axes.names, "filters['values']") for name in self.filters.values),
            *_baseline_problems(spec.baseline, axes, spec.levels),
            *([] if self.scorer is None else [_unknown(self.scorer, scorers, "scorer", "scorer")]),
        ]
        if found := list(filter(None, problems)):
            raise ComparisonError(found)
        values = {name: [each for each in some if axes[name].has(each)] for name, some in self.filters.values.items()}
        hidden = tuple(column for column in spec.hidden if not any(_hidden_problems(column, axes, spec.levels)))
        spec = replace(spec, hidden=hidden, filters=replace(self.filters, values=values))
        if spec.column_baseline is None:
            return spec
        places = {name: axes[name].place(value) for name, value in spec.column_baseline.items()}
        return replace(spec, baseline={name: axes[name].values[place or 0] for name, place in places.items()})

    def check_values(self, axes: Axes) -> None:
        """Raise `ComparisonError` for a value to keep or a column to hide that there is not."""
        kept = [(axes[name], value) for name, values in self.filters.values.items() for value in values]
        problems = [_never("filters['values']", axis, value) for axis, value in kept]
        problems += [each for column in self.hidden for each in _hidden_problems(column, axes, self.levels)]
        if found := list(filter(None, problems)):
            raise ComparisonError(found)

    @property
    def column_baseline(self) -> Mapping[str, Any] | None:
        """The values of column axes that make the baseline, if columns are compared with columns."""
        return None if self.reference or not isinstance(self.baseline, Mapping) else self.baseline

    @property
    def levels(self) -> tuple[str, ...]:
        """The axes on the columns, with the repeats where they are not folded."""
        has_repeats = self.repeats == "columns" and "repeat" not in (*self.rows, *self.columns)
        return (*self.columns, "repeat") if has_repeats else self.columns

    @property
    def reference(self) -> str | None:
        """The case column that is the baseline, if one is."""
        is_one = isinstance(self.baseline, Mapping) and REFERENCE in self.baseline and REFERENCE not in self.levels
        return self.baseline[REFERENCE] if is_one and isinstance(self.baseline, Mapping) else None


# The form of each field; what is wrong is added to the problems


def _axis_names(value: Any, name: str, problems: list[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else (None,)
    if not all(isinstance(each, str) for each in names):
        problems.append(f"{name}={_text.brief(value)}: the name of an axis is needed, or a list of them")
        return ()
    if len(names) > _LEVELS or len(set(names)) != len(names):
        problems.append(f"{name}={_text.brief(value)}: one or two different axes are possible")
    return tuple(str(each) for each in names)


def _choice(*choices: str) -> Callable[[Any, str, list[str]], Any]:
    def read(value: Any, name: str, problems: list[str]) -> Any:
        if value not in choices:
            near = _text.nearest(value, choices) if isinstance(value, str) else None
            hint = f"; did you mean {near!r}?" if near else f": one of {', '.join(map(repr, choices))} is needed"
            problems.append(f"{name}={_text.brief(value)}{hint}")
        return value

    return read


def _text_of(value: Any, name: str, problems: list[str]) -> Any:
    if not isinstance(value, str):
        problems.append(f"{name}={_text.brief(value)}: a text is needed")
    return value


def _text_or_none(value: Any, name: str, problems: list[str]) -> Any:
    return None if value is None else _text_of(value, name, problems)


def _baseline(value: Any, name: str, problems: list[str]) -> Any:
    if value is None:
        return None
    if isinstance(value, str | int | float | list | tuple):
        return _column(value, name, problems)
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        problems.append(
            f"{name}={_text.brief(value)}: write {{'template': 'terse'}}, {{'reference': 'capital'}}, or None"
        )
        return None
    return _plain(value, name, problems)


def _filters(value: Any, name: str, problems: list[str]) -> Filters:
    if isinstance(value, Filters):
        value = _shallow(value)
    if not isinstance(value, Mapping):
        problems.append(f"{name}={_text.brief(value)}: write {{'show': 'failed'}}, for example")
        return Filters()
    try:
        given = _known(value, list(_FILTERS), name)
    except ComparisonError as exc:
        problems += exc.problems
        given = {}
    usual = _shallow(Filters())
    return Filters(
        **{key: read(given.get(key, usual[key]), f"{name}[{key!r}]", problems) for key, read in _FILTERS.items()}
    )


def _values(value: Any, name: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(each, list | tuple) for each in value.values()):
        problems.append(f"{name}={_text.brief(value)}: write {{'lang': ['en', 'fr']}}: an axis and the values to keep")
        return {}
    return _plain({str(key): list(each) for key, each in value.items()}, name, problems)


def _list_of(*kinds: type) -> Callable[[Any, str, list[str]], Any]:
    def read(value: Any, name: str, problems: list[str]) -> Any:
        if not isinstance(value, list | tuple) or not all(isinstance(each, kinds) for each in value):
            problems.append(f"{name}={_text.brief(value)}: a list of values is needed")
            return ()
        return tuple(value)

    return read


def _ratings(value: Any, name: str, problems: list[str]) -> Any:
    if not isinstance(value, list | tuple) or not all(each is None or _is_rating(each) for each in value):
        needed = "write [('thumbs', 1), ('stars', 5), None]: a scale and a value on it, None for no rating"
        problems.append(f"{name}={_text.brief(value)}: {needed}")
        return ()
    return tuple(None if each is None else (each[0], each[1]) for each in value)


def _is_rating(rating: Any) -> bool:
    return isinstance(rating, list | tuple) and tuple(rating) in RATINGS


def _statuses(value: Any, name: str, problems: list[str]) -> Any:
    read = _choice(*get_args(Status))
    return tuple(read(each, name, problems) for each in _list_of(str)(value, name, problems))


def _ranges(value: Any, name: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{name}={_text.brief(value)}: write {{'latency_ms': [2000, None]}}")
        return {}
    checked = {}
    for key, bounds in value.items():
        _choice(*NUMBERS)(key, name, problems)
        if not _is_range(bounds):
            problems.append(f"{name}[{key!r}]={_text.brief(bounds)}: [low, high] is needed, None for no bound")
        else:
            checked[key] = tuple(bounds)
    return checked


def _is_range(bounds: Any) -> bool:
    return (
        isinstance(bounds, list | tuple)
        and len(bounds) == 2  # noqa: PLR2004 - low and high
        and all(each is None or (_is_number(each) and math.isfinite(each)) for each in bounds)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sort(value: Any, name: str, problems: list[str]) -> Sort:
    if isinstance(value, Sort):
        value = _shallow(value)
    if isinstance(value, str):
        value = {"by": value}
    if not isinstance(value, Mapping):
        problems.append(f"{name}={_text.brief(value)}: write 'changed', for example, or {{'by': 'changed'}}")
        return Sort()
    try:
        given = {**_shallow(Sort()), **_known(value, ["by", "descending", "column"], name)}
    except ComparisonError as exc:
        problems += exc.problems
        return Sort()
    _choice(*get_args(SortBy))(given["by"], f"{name}['by']", problems)
    if not isinstance(given["descending"], bool | None):
        problems.append(f"{name}['descending']={_text.brief(given['descending'])}: True, False or None is needed")
    column = given["column"]
    if column is not None:
        given["column"] = _column(column, f"{name}['column']", problems)
    return Sort(**given)


def _column(value: Any, name: str, problems: list[str]) -> tuple[Any, ...]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return tuple(_plain(values, name, problems) or ())


def _hidden(value: Any, name: str, problems: list[str]) -> tuple[tuple[Any, ...], ...]:
    if not isinstance(value, list | tuple):
        problems.append(f"{name}={_text.brief(value)}: a list of columns is needed, each by its values")
        return ()
    return tuple(_column(each, name, problems) for each in value)


def _plain(value: Any, name: str, problems: list[str]) -> Any:
    try:
        return plain(value)
    except (TypeError, RecursionError) as exc:
        problems.append(f"{name}: {exc}")
        return None


_FILTERS: dict[str, Callable[[Any, str, list[str]], Any]] = {
    "show": _choice(*get_args(Show)),
    "values": _values,
    "status": _statuses,
    "finish_reason": _list_of(str, type(None)),
    "flags": _list_of(str),
    "ratings": _ratings,
    "ranges": _ranges,
}
_READ: dict[str, Callable[[Any, str, list[str]], Any]] = {
    "rows": _axis_names,
    "columns": _axis_names,
    "repeats": _choice("fold", "columns"),
    "baseline": _baseline,
    "filters": _filters,
    "search": _text_of,
    "scorer": _text_or_none,
    "sort": _sort,
    "hidden": _hidden,
    "density": _choice("S", "M", "L"),
}


def _known(values: Mapping[str, Any], names: Sequence[str], what: str) -> dict[str, Any]:
    """Return the values; raise `ComparisonError` for a name that is none."""
    if problems := [problem for name in values if (problem := _unknown(name, names, what, "field"))]:
        raise ComparisonError(problems)
    return dict(values)


def _unknown(name: Any, names: Iterable[str], where: str, what: str = "axis") -> str | None:
    """Return what is wrong with a name, and the one that was probably meant."""
    names = list(names)
    if name in names:
        return None
    near = _text.nearest(str(name), names)
    there = f"there are {', '.join(map(repr, names[:30])) or 'none'}"
    meant = f"did you mean {near!r}?" if near else ""
    hint = meant if near and what == "field" else f"{meant} {there}".strip()
    return f"{where}: no {what} {_text.brief(name)}; {hint}"


def _whole_column(values: Sequence[Any], levels: Sequence[str]) -> dict[str, Any]:
    if len(values) != len(levels):
        msg = f"baseline={_column_length(values, levels)}"
        raise ComparisonError(msg)
    return dict(zip(levels, values, strict=True))


def _column_length(values: Sequence[Any], levels: Sequence[str]) -> str:
    needed = f"{_text.count(len(levels), 'value')}, one for each of {', '.join(map(repr, levels))}"
    return f"{_text.brief(tuple(values))}: a column has {needed}"


def _baseline_problems(baseline: Any, axes: Axes, levels: Sequence[str]) -> Iterable[str | None]:
    if baseline is None:
        return
    if REFERENCE in baseline and REFERENCE not in levels:
        yield _unknown(baseline[REFERENCE], axes.case_columns, "baseline['reference']", "case column")
        if len(baseline) > 1:
            yield f"baseline={_text.brief(dict(baseline))}: a reference stands alone"
        return
    for name, value in baseline.items():
        if name not in levels:
            yield _unknown(name, levels, "baseline", "column axis")
        else:
            yield _never("baseline", axes[name], value)


def _hidden_problems(column: Sequence[Any], axes: Axes, levels: Sequence[str]) -> list[str | None]:
    if len(column) != len(levels):
        return [f"hidden: {_column_length(column, levels)}"]
    return [_never("hidden", axes[name], value) for name, value in zip(levels, column, strict=True)]


def _never(where: str, axis: Axis, value: Any) -> str | None:
    """Return what is wrong with a value that no trial has, and what there is."""
    if axis.has(value):
        return None
    near = _text.nearest(str(value), map(str, axis.values))
    hint = f"did you mean {near!r}?" if near else f"it takes {_text.brief(list(axis.values))}"
    return f"{where}: {axis.name!r} is never {_text.brief(value)}; {hint}"


def _shallow(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}
