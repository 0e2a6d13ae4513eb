"""Scorers of an answer's form: whether it is JSON, and whether it fits a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from promptlab import _text
from promptlab._json import plain
from promptlab.errors import ScoreError
from promptlab.scorers._base import Score, Scorer
from promptlab.scorers._reading import Extract, Pattern, extraction, scoring_text

_REASON_CHARS = 300


def json_valid(*, extract: Extract | None = None, name: str = "json_valid") -> Scorer:
    """Return a scorer: 1 where the answer is JSON, else 0 with the reason.

    Standard JSON, so no NaN. `extract="code_block"` takes it out of a fenced block, where there is one.

    >>> from promptlab.scorers import Answered
    >>> json_valid().score(Answered('{"city": "Paris"}', {})).value
    1.0
    """
    taken = extraction(extract)

    def judge(found: str, _: Any) -> Score:
        try:
            _parsed(found)
        except (ValueError, RecursionError) as exc:
            return _not_json(exc)
        return Score(1.0)

    return Scorer(name, {"scorer": "json_valid", "extract": taken.told}, scoring_text(taken, judge))


def json_schema(schema: Mapping[str, Any], *, extract: Extract | None = None, name: str = "json_schema") -> Scorer:
    """Return a scorer: 1 where the answer is JSON that fits a JSON Schema, else 0 with the reason.

    The schema's draft is that of its `$schema`, 2020-12 without one; `format` is not checked, and nothing is fetched.

    Raises
    ------
    ScoreError
        When the schema is none.

    >>> from promptlab.scorers import Answered
    >>> city = json_schema({"type": "object", "required": ["city"]})
    >>> city.score(Answered('{"town": "Paris"}', {}))
    Score(value=0.0, label=None, detail={'reason': "'city' is a required property"})
    """
    validator, told = _validator(schema)
    taken = extraction(extract)

    def judge(found: str, _: Any) -> Score:
        from jsonschema.exceptions import best_match  # noqa: PLC0415 - see _validator

        try:
            parsed = _parsed(found)
        except (ValueError, RecursionError) as exc:
            return _not_json(exc)
        problem = best_match(validator.iter_errors(parsed))
        if problem is None:
            return Score(1.0)
        place = "" if not problem.absolute_path else f"{problem.json_path}: "
        return Score(0.0, detail={"reason": _text.clipped(place + problem.message, _REASON_CHARS)})

    config = {"scorer": "json_schema", "schema": told, "extract": taken.told}
    return Scorer(name, config, scoring_text(taken, judge))


def _parsed(text: str) -> Any:
    return json.loads(text, parse_constant=_refused)


def _refused(constant: str) -> None:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _not_json(exc: Exception) -> Score:
    why = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
    return Score(0.0, detail={"reason": _text.clipped(f"not JSON: {why}", _REASON_CHARS)})


def _validator(schema: Any) -> tuple[Any, Any]:
    """Return what validates by the schema, without fetching anything, and the schema as JSON."""
    from jsonschema import exceptions, validators  # noqa: PLC0415 - costs 40 ms, so only where it is used
    from jsonschema_specifications import REGISTRY  # noqa: PLC0415 - comes with it

    if not isinstance(schema, Mapping):
        msg = f"schema={_text.brief(schema)}: a schema is a mapping, such as {{'type': 'object'}}"
        raise ScoreError(msg)
    try:
        told = plain(schema)
        kind = validators.validator_for(told, default=validators.Draft202012Validator)
        kind.check_schema(told)
    except (TypeError, exceptions.SchemaError, RecursionError) as exc:
        why = getattr(exc, "message", None) or str(exc)
        msg = f"schema={_text.brief(schema)}: {_text.clipped(why, _REASON_CHARS)}"
        raise ScoreError(msg) from exc
    return validators.extend(kind, {"pattern": _fits})(told, registry=REGISTRY), told


def _fits(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
    """Say where a text does not fit the keyword `pattern`, whose search ends."""
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - see _validator

    if isinstance(instance, str) and Pattern(pattern, "pattern").search(instance) is None:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")
