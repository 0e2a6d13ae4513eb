"""Parameter grids: what to vary, and in which order the cells come out.

A grid is an ordered tuple of cells; a cell is one setting of the request's parameters. In a product the axes are taken
in the order they were written and the last one varies fastest, as in nested loops. Names and values are checked when
the grid is made, so that nothing invalid can ever be sent.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from promptlab import _text
from promptlab._json import canonical, plain
from promptlab.errors import GridError

#: The request parameters that both endpoints take, and those of one alone (openai 3.54.0, 2026-11).
SHARED = (
    *("model", "temperature", "top_p", "max_tokens", "stop", "seed", "frequency_penalty", "presence_penalty"),
    *("logit_bias", "logprobs", "user"),
)
CHAT_ONLY = (
    *("max_completion_tokens", "top_logprobs", "response_format", "reasoning_effort", "verbosity", "tools"),
    *("tool_choice", "parallel_tool_calls", "functions", "function_call", "modalities", "audio", "prediction"),
    *("moderation", "web_search_options", "service_tier", "metadata", "store", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
)
TEXT_ONLY = ("best_of", "echo", "suffix")
PARAMETERS = (*SHARED, *CHAT_ONLY, *TEXT_ONLY)

#: Parameters that promptlab sets itself, each with what to do instead.
RESERVED = {
    "n": "use repeats= in the plan: each repeat is a sample of its own",
    "messages": "messages come from a PromptTemplate",
    "prompt": "the prompt comes from PromptTemplate(name, text=...)",
    "stream": "promptlab reads whole answers; leave it out",
    "stream_options": "promptlab reads whole answers; leave it out",
}

#: Lowest and highest value of a parameter, as the API refuses all others (OpenAPI document 2.3.0).
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
    "max_tokens": (1, math.inf),
    "max_completion_tokens": (1, math.inf),
    "best_of": (1, 20),
}
INTEGERS = frozenset({"top_logprobs", "max_tokens", "max_completion_tokens", "seed", "best_of"})
LISTS = frozenset({"tools", "functions", "modalities"})  # a value of these is a list: it stands in a list of its own
MAX_STOPS = 4


class Cell(Mapping[str, Any]):
    """One setting: a read-only mapping of names to values.

    `params` are what goes into the request, `variables` what goes into the template.
    """

    __slots__ = ("_values", "extra_names", "variable_names")

    def __init__(self, values: Mapping[str, Any], *, variables: frozenset[str], extra: frozenset[str]) -> None:
        self._values = dict(values)
        self.variable_names = variables
        self.extra_names = extra

    @property
    def params(self) -> dict[str, Any]:
        """The request parameters; a value of None leaves its parameter out."""
        return {k: v for k, v in self._values.items() if k not in self.variable_names and v is not None}

    @property
    def variables(self) -> dict[str, Any]:
        """The template variables that this cell sets."""
        return {k: v for k, v in self._values.items() if k in self.variable_names}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(canonical(self._values))

    def __repr__(self) -> str:
        return f"Cell({self._values!r})"


class ParameterGrid:
    """Settings to try: the product of the axes given, in the order they are written.

    A list, tuple, range, array or Series is an axis; anything else (a number, text, a dict) is a constant. A value that
    is itself a list stands in a list of its own: `tools=[[...]]`. None leaves the parameter out of the request.

    Parameters
    ----------
    cells
        Instead of keyword arguments: a list of mappings as in scikit-learn, each a product of its own.
    variables
        Template variables to sweep beside the parameters: `variables={"persona": ["a pirate", "a poet"]}`.
    extra
        Parameters of the provider's own, which are passed on unchecked: `extra={"top_k": [1, 40]}`.

    Raises
    ------
    GridError
        Listing every problem: unknown names with the nearest valid one, values out of range, no cells.

    >>> grid = ParameterGrid(model="smollm2-135m", temperature=[0, 0.7], top_p=[0.5, 1.0])
    >>> len(grid), dict(grid[1])
    (4, {'model': 'smollm2-135m', 'temperature': 0, 'top_p': 1.0})
    >>> [cell["temperature"] for cell in grid.where(lambda cell: cell["temperature"] or cell["top_p"] == 1)]
    [0, 0.7, 0.7]
    """

    def __init__(
        self,
        cells: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        /,
        *,
        variables: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        **axes: Any,
    ) -> None:
        common = _joined(axes, variables or {}, extra or {})
        parts = [_lists(_joined(part, common)) for part in _parts(cells)]
        self._cells = _checked(parts, variables=frozenset(variables or ()), extra=frozenset(extra or ()))

    @classmethod
    def zip(cls, **axes: Any) -> ParameterGrid:
        """Vary several parameters in step: the first values together, then the second ones; constants stay as they are.

        >>> [tuple(cell.values()) for cell in ParameterGrid.zip(temperature=[0, 1], top_p=[0.5, 1.0])]
        [(0, 0.5), (1, 1.0)]
        """
        lists = _lists(axes)
        sizes = {name: len(lists[name]) for name, value in axes.items() if _is_axis(_unwrapped(value))}
        if len(set(sizes.values())) > 1:
            msg = f"zip needs axes of equal length, but {', '.join(f'{name} has {n}' for name, n in sizes.items())}"
            raise GridError(msg)
        steps = range(max(sizes.values(), default=1))
        return cls([{name: values[step % len(values) :][:1] for name, values in lists.items()} for step in steps])

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that some cell sets, in the order first met."""
        return tuple(dict.fromkeys(name for cell in self._cells for name in cell))

    @property
    def varying(self) -> tuple[str, ...]:
        """The names that differ between cells, in the order first met."""
        return tuple(name for name in self.names if len({canonical(cell.get(name)) for cell in self._cells}) > 1)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is valid but seldom meant, one sentence each."""
        return tuple(_grid_warnings(self))

    def where(self, predicate: Callable[[Cell], object]) -> ParameterGrid:
        """Keep the cells for which the predicate is true."""
        return _grid([cell for cell in self._cells if predicate(cell)])

    def sample(self, n: int, *, seed: int) -> ParameterGrid:
        """Take n cells at random without replacement, in grid order; the same seed takes the same cells."""
        if not 1 <= n <= len(self):
            msg = f"cannot sample {n} of {len(self)} cells"
            raise GridError(msg)
        places = sorted(random.Random(seed).sample(range(len(self)), n))  # noqa: S311 - a design, not a secret
        return _grid([self._cells[place] for place in places])

    def __add__(self, other: ParameterGrid) -> ParameterGrid:
        """Union: these cells, then those of `other` that are not among them."""
        found: dict[str, Cell] = {}
        for cell in (*self, *other):
            found.setdefault(canonical([dict(cell), sorted(cell.variable_names)]), cell)
        return _grid(list(found.values()))

    def __mul__(self, other: ParameterGrid) -> ParameterGrid:
        """Product: every cell here with every cell of `other`, whose axes vary fastest."""
        if both := set(self.names) & set(other.names):
            msg = f"both grids set {', '.join(sorted(both))}; a product needs different names"
            raise GridError(msg)
        return _grid([_merged(left, right) for left in self for right in other])

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells)

    def __getitem__(self, place: int) -> Cell:
        return self._cells[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterGrid) and list(map(dict, self)) == list(map(dict, other))

    def __hash__(self) -> int:
        return hash(self._cells)

    def __repr__(self) -> str:
        axes = (f"{name}={_axis_text([cell.get(name) for cell in self])}" for name in self.names)
        return f"<ParameterGrid {_text.count(len(self), 'cell')}: {', '.join(axes)}>"

    def _repr_html_(self) -> str:
        shown = [[_text.clipped(str(cell.get(name, "")), 80) for name in self.names] for cell in self._cells[:_SHOWN]]
        note = f"the first {_SHOWN}" if len(self) > _SHOWN else ""
        table = _text.html_table(shown, head=self.names)
        return _text.html_card(f"ParameterGrid · {_text.count(len(self), 'cell')}", table, note=note)


_SHOWN = 20  # cells in the rich display
_VALUES_SHOWN = 6  # values of an axis in the repr


def restored(cells: Iterable[Mapping[str, Any]], *, variables: Iterable[str]) -> ParameterGrid:
    """Return a grid of cells that a file holds, in their order; lists are values here, not axes.

    >>> restored([{"model": "m", "stop": ["A", "B"]}], variables=[])[0]["stop"]
    ['A', 'B']
    """
    swept = frozenset(variables)
    parts = [{name: [value] for name, value in cell.items()} for cell in cells]
    extra = frozenset(name for part in parts for name in part if name not in PARAMETERS) - swept
    made = ParameterGrid.__new__(ParameterGrid)
    made._cells = _checked(parts, variables=swept, extra=extra)  # noqa: SLF001 - a grid's own maker
    return made


def _grid(cells: Sequence[Cell]) -> ParameterGrid:
    if not cells:
        msg = "the grid has no cells left; loosen the condition"
        raise GridError(msg)
    made = ParameterGrid.__new__(ParameterGrid)
    made._cells = tuple(cells)  # noqa: SLF001 - the cells were checked when first made
    return made


def _parts(cells: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    parts = [cells] if isinstance(cells, Mapping) else list(cells)
    for part in parts:
        if not isinstance(part, Mapping):
            msg = f"{_text.brief(part)} is not a mapping of names to values; write [{{'temperature': [0, 0.7]}}]"
            raise GridError(msg)
    return parts or [{}]


def _joined(*parts: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for part in parts for name in part]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"{', '.join(twice)} given twice"
        raise GridError(msg)
    return {name: value for part in parts for name, value in part.items()}


def _merged(left: Cell, right: Cell) -> Cell:
    variables = left.variable_names | right.variable_names
    return Cell({**left, **right}, variables=variables, extra=left.extra_names | right.extra_names)


def _lists(axes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return every axis as the list of its values, a constant as a list of one."""
    given = {name: _unwrapped(value) for name, value in axes.items()}
    return {name: [_unwrapped(v) for v in value] if _is_axis(value) else [value] for name, value in given.items()}


def _is_axis(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | set | frozenset)


def _unwrapped(value: Any) -> Any:
    """Return the lists, texts and numbers in numpy's and pandas' arrays and scalars."""
    return value.tolist() if hasattr(value, "tolist") else value


# Checks


def _checked(
    parts: Sequence[Mapping[str, list[Any]]], *, variables: frozenset[str], extra: frozenset[str]
) -> tuple[Cell, ...]:
    """Return the cells of every part's product, or raise `GridError` with everything that is wrong in them."""
    axes = [(name, values) for part in parts for name, values in part.items()]
    problems = [problem for name, values in axes for problem in _axis_problems(name, values, variables, extra)]
    rows = [dict(zip(part, row, strict=True)) for part in parts for row in itertools.product(*part.values())]
    if any(row.get("top_logprobs") is not None and not row.get("logprobs") for row in rows):
        problems.append("top_logprobs needs logprobs=True beside it")
    if not axes:
        example = "ParameterGrid(model='gpt-4.1', temperature=[0, 1])"
        problems.append(f"the grid is empty; name at least one parameter, e.g. {example}")
    if problems:
        raise GridError(list(dict.fromkeys(problems)))
    settled = [{name: value if name in extra else _settled(name, value) for name, value in row.items()} for row in rows]
    return tuple(Cell(plain(row), variables=variables, extra=extra) for row in settled)


def _settled(name: str, value: Any) -> Any:
    """Return a whole number as an integer: servers that read one refuse 16.0."""
    return int(value) if name in INTEGERS and value is not None else value


def _axis_problems(name: str, values: list[Any], variables: frozenset[str], extra: frozenset[str]) -> Iterator[str]:
    if not values:
        yield f"{name} has no values; give at least one"
    if name in RESERVED and name not in variables:
        yield f"{name!r} cannot be set: {RESERVED[name]}"
    elif name in variables and name in PARAMETERS:
        yield f"{name!r} is a request parameter; give it as a parameter, or rename the template variable"
    elif name not in PARAMETERS and name not in variables | extra:
        near = _text.nearest(name, PARAMETERS)
        hint = f"did you mean {near!r}? " if near else ""
        yield f"unknown parameter {name!r}; {hint}a provider's own parameters go into extra={{{name!r}: ...}}"
    for value in values:
        found = [] if name in variables | extra or value is None else list(_value_problems(name, value))
        yield from found or _json_problems(name, value)


def _value_problems(name: str, value: Any) -> Iterator[str]:
    if name in RANGES or name in INTEGERS:
        yield from _number_problems(name, value)
    elif name == "stop" and not _is_stop(value):
        yield f"stop={_text.brief(value)}: text, or a list of 1 to {MAX_STOPS} texts inside the list of values"
    elif name in LISTS and not isinstance(value, list | tuple):
        yield f"{name}={_text.brief(value)}: a list is needed, inside the list of values: {name}=[[...]]"
    elif name == "model" and not (isinstance(value, str) and value):
        yield f"model={_text.brief(value)}: a model's name is text"


def _is_stop(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return 1 <= len(value) <= MAX_STOPS and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _number_problems(name: str, value: Any) -> Iterator[str]:
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if isinstance(value, set | frozenset):
        return  # told by another check
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"{name}={_text.brief(value)}: a number is needed"
    elif name in INTEGERS and not (isinstance(value, int) or value.is_integer()):
        yield f"{name}={value!r}: a whole number is needed"
    elif not low <= value <= high:  # NaN compares false, so it ends here too
        span = f"at least {low}" if high == math.inf else f"between {low} and {high}"
        yield f"{name}={value!r}: it must be {span}"


def _json_problems(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, set | frozenset):
        yield f"{name} is a set, which has no order; write a list"
        return
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        yield f"{name}={_text.brief(value)} cannot be sent as JSON: {exc}"


def _grid_warnings(grid: ParameterGrid) -> Iterator[str]:
    cold = [cell for cell in grid if cell.get("temperature") == 0]
    tops = {canonical(cell.get("top_p")) for cell in cold}
    if len(tops) > 1:
        yield "top_p is swept at temperature 0, where it changes nothing; .where() can leave those cells out"
    if any(cell.get("max_tokens") is None and cell.get("max_completion_tokens") is None for cell in grid):
        yield "no max_tokens: an answer may be as long as the model allows, and no worst case can be priced"


def _axis_text(values: Iterable[Any]) -> str:
    shown = list({canonical(value): _text.brief(value, 40) for value in values}.values())
    if len(shown) == 1:
        return shown[0]
    return f"[{', '.join(shown[:_VALUES_SHOWN])}{', …' if len(shown) > _VALUES_SHOWN else ''}]"
