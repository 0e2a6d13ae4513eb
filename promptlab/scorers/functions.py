"""Scorers made of any Python function of (output, case).

Its key is its name and the hash of its source, so a function that is edited is another scorer. What the source does not
show (a variable of an enclosing function or of the notebook, a default that is computed, a callable object) needs
`version=`, which then stands for all of it. Functions that it calls are not looked into: change `version=` with them.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

from promptlab import _text
from promptlab._json import plain
from promptlab.errors import ScoreError
from promptlab.scorers._base import Answered, Score, Scorer

Function = Callable[[str, dict[str, Any]], Any]


def scorer(function: Scorer | Function, *, name: str | None = None, version: str | int | None = None) -> Scorer:
    """Return a scorer made of a function; one that is a scorer already is returned as it is.

    Parameters
    ----------
    function
        It is called with the answer's text and the case's values, and returns a bool or a number (the value), a text
        (the label), or a mapping with any of `value`, `label`, `detail`. Whatever it raises makes that one score fail.
    name
        What the scores are called; the function's own name by default.
    version
        What stands for the function in the key, instead of its source; change it whenever the function changes.

    Raises
    ------
    ScoreError
        When it does not take (output, case), or its source does not tell all that it does and there is no version.

    >>> short = scorer(lambda output, case: len(output) < case["most"], name="short", version=1)
    >>> short.score(Answered("Paris", {"most": 10})).value
    1.0
    """
    if isinstance(function, Scorer):
        return function
    _check_call(function)
    called = name or getattr(function, "__name__", None)
    if called in {None, "<lambda>"}:
        msg = f"{_text.brief(function)} has no name of its own; give it one: scorer(..., name='...')"
        raise ScoreError(msg)
    told = {"version": plain(version)} if version is not None else {"source": _source_hash(function, str(called))}
    return Scorer(str(called), {"scorer": "function", **told}, lambda answer: _scored(function, answer))


def _check_call(function: Any) -> None:
    if not callable(function):
        msg = (
            f"{_text.brief(function)} is no scorer; give one, e.g. exact_match('capital'),"
            " or a function of (output, case)"
        )
        raise ScoreError(msg)
    name = getattr(function, "__name__", "")
    if name and getattr(sys.modules["promptlab.scorers"], name, None) is function:
        msg = f"{name} makes a scorer; call it, e.g. {name}(...)"
        raise ScoreError(msg)
    if inspect.iscoroutinefunction(function):
        msg = f"{_text.brief(function)} is asynchronous; a scorer is a plain function of (output, case)"
        raise ScoreError(msg)
    try:
        inspect.signature(function).bind("", {})
    except TypeError as exc:
        msg = f"{_text.brief(function)} cannot be called as function(output, case): {exc}"
        raise ScoreError(msg) from exc
    except ValueError:  # a builtin that tells no signature
        return


def source_key(function: Callable[..., Any]) -> str:
    """Return the hash of a function's source.

    Raises
    ------
    ValueError
        Saying why the source does not tell all that the function does.
    """
    return hashlib.sha256(_source(function).encode(errors="surrogatepass")).hexdigest()


def _source_hash(function: Function, name: str) -> str:
    try:
        return source_key(function)
    except ValueError as exc:
        advice = "give it a version, scorer(..., version='1'), and change that whenever the function changes"
        msg = f"{name}: {exc}, so its scores could not be told from another's; {advice}"
        raise ScoreError(msg) from exc


def _data_read(function: Callable[..., Any]) -> list[str]:
    """Return the global variables that a function reads, but for modules, classes and functions."""
    found = inspect.getclosurevars(function).globals
    return sorted(name for name, value in found.items() if not (inspect.ismodule(value) or callable(value)))


def _source(function: Callable[..., Any]) -> str:
    if not inspect.isfunction(function) or hasattr(function, "__wrapped__"):
        msg = "it is no plain function"
        raise ValueError(msg)
    if function.__closure__:
        free = ", ".join(function.__code__.co_freevars)
        msg = f"it uses {free} of the function around it, which its source does not show"
        raise ValueError(msg)
    if data := _data_read(function):
        msg = f"it reads {', '.join(data)} of the notebook, whose values its source does not show"
        raise ValueError(msg)
    try:
        is_lambda = function.__name__ == "<lambda>"
        text = _only_lambda(function) if is_lambda else textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError) as exc:
        msg = "its source cannot be read"
        raise ValueError(msg) from exc
    defaults = (function.__defaults__ or (), function.__kwdefaults__ or {})
    return text if defaults == ((), {}) else f"{text}\n{_told(defaults)}"


def _only_lambda(function: Callable[..., Any]) -> str:
    """Return the source of a lambda that is the only one in its line."""
    lines, _ = inspect.findsource(function)
    start = function.__code__.co_firstlineno
    nodes = ast.walk(ast.parse("".join(lines)))
    found = [node for node in nodes if isinstance(node, ast.Lambda) and node.lineno == start]
    if len(found) != 1:
        msg = f"its line has {len(found)} lambdas, which cannot be told apart"
        raise ValueError(msg)
    return ast.unparse(found[0])


def _told(defaults: Any) -> str:
    try:
        return repr(plain(defaults))
    except (TypeError, RecursionError) as exc:
        msg = "a default of its arguments is an object, which its source does not show"
        raise ValueError(msg) from exc


def _scored(function: Function, answer: Answered) -> Score:
    found = function(answer.text, copy.deepcopy(dict(answer.case)))
    if not isinstance(found, Mapping):
        return _valued(found)
    if strange := set(found) - {"value", "label", "detail"}:
        msg = f"the mapping has {', '.join(sorted(map(repr, strange)))}; a score has value, label, detail"
        raise ValueError(msg)
    value, label, detail = (found.get(part) for part in ("value", "label", "detail"))
    number = None if value is None else _valued(value).value
    if value is not None and number is None:
        msg = f"value is {_text.brief(value)}, no number"
        raise TypeError(msg)
    if label is not None and not isinstance(label, str):
        msg = f"label is {_text.brief(label)}, no text"
        raise TypeError(msg)
    told = {} if detail is None else plain(detail)
    return Score(number, label, told if isinstance(told, dict) else {"detail": told})


def _valued(found: Any) -> Score:
    """Return what a function returned as a score: bools and numbers, also numpy's, are values, a text is a label."""
    if isinstance(found, str):
        return Score(label=str(found))
    if hasattr(found, "item") and getattr(found, "ndim", 1) == 0:  # numpy's scalars
        found = found.item()
    if isinstance(found, Number) and not isinstance(found, complex):
        return Score(float(found))  # type: ignore[arg-type]  # a real number, a Decimal, a Fraction
    msg = f"the function returned {_text.brief(found)}; a score is a bool, a number, a text or a mapping"
    raise TypeError(msg)
