"""All there is to know of one answer: exact request and response, attempts, tokens, and what was said of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from promptlab import judgements, results
from promptlab._json import compact
from promptlab.comparison.cells import Place, draw, head, reference
from promptlab.comparison.table import Table
from promptlab.results import LoggedRequest

MOST_CHARS = 200_000  # of one text
MOST_TOKENS = 5_000
_ATTEMPT = (
    *("id", "number", "state", "http_status", "sent_at", "latency_ms", "error_type", "error_message"),
    *("prompt_tokens", "completion_tokens", "cost_usd"),
)

_TRIAL = """
select coalesce(attempts.request_id, samples.request_id) as request_id, samples.id as sample_id,
  outputs.id as output_id, outputs.attempt_id, outputs.logprobs, outputs.refusal, outputs.tool_calls, trials.case_id
from trials join samples on samples.id = trials.sample_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = outputs.attempt_id
where trials.id = ?
"""
_MINE = "select attempt_id from attempt_samples where sample_id = ?"
_TEXT = "select text from outputs where id = ?"
_SCORES = """
select scorer, value, label, detail from scores
where id in (select max(id) from scores where output_id = ? and case_id = ? group by scorer) order by id
"""


def detail(table: Table, row: int, column: int, cell: int, variant: int = 0) -> dict[str, Any]:
    """Return all there is to one cell's answer; see the protocol in `panels/matrix.py`."""
    drawn = draw(table, [Place(cell, variant)], chars=MOST_CHARS)[0]
    trial = table.store.read(_TRIAL, (drawn["trial_id"],))[0]
    logged = results.logged_request(table.store, trial["request_id"])
    mine = {each[0] for each in table.store.read(_MINE, (trial["sample_id"],))}
    attempts = [attempt for attempt in logged.attempts if attempt["id"] in mine]
    answer = next((each for each in attempts if each["id"] == trial["attempt_id"]), attempts[-1] if attempts else {})
    output = trial["output_id"]
    tokens = None if trial["logprobs"] is None else list(_tokens(json.loads(trial["logprobs"])))
    said = {"ratings": [], "notes": []} if output is None else judgements.said(table.store, output)
    return {
        "row": head(table, row),
        "column": list(table.layout.columns[column]),
        "cell": drawn,
        "baseline": _baseline(table, row, cell),
        "prompt": list(_prompt(logged)),
        "request": logged.body[:MOST_CHARS],
        "request_id": logged.id,
        "response": _decoded(answer.get("response")),
        "usage": answer.get("usage"),
        "headers": json.loads(answer.get("headers") or "{}"),
        "curl": logged.as_curl()[:MOST_CHARS],
        "refusal": trial["refusal"],
        "tool_calls": trial["tool_calls"],
        "attempts": [{name: attempt[name] for name in _ATTEMPT} for attempt in attempts],
        "tokens": tokens,
        "perplexity": _perplexity(tokens),
        "scores": [dict(each) for each in table.store.read(_SCORES, (output, trial["case_id"]))],
        **said,
    }


def _baseline(table: Table, row: int, cell: int) -> str | None:
    """Return the whole text that a cell is compared with."""
    layout = table.layout
    if layout.spec.reference is not None:
        return reference(table, row)
    base = layout.baselines[layout.cell_column[cell]]
    other = None if base is None else layout.cell(row, base)
    if other is None or layout.spec.column_baseline is None:
        return None
    output = int(table.trials.output[layout.variants(other)[0][0]])
    rows = table.store.read(_TEXT, (output,))
    return str(rows[0]["text"])[:MOST_CHARS] if rows and rows[0]["text"] is not None else None


def _prompt(logged: LoggedRequest) -> Iterator[dict[str, Any]]:
    """Yield role and text of each message that was sent."""
    body = json.loads(logged.body)
    if "messages" not in body:
        yield {"role": "text", "text": _as_text(body.get("prompt"))}
        return
    for message in body["messages"]:
        rest = {name: value for name, value in message.items() if name not in {"role", "content"}}
        text = _as_text(message.get("content"))
        yield {"role": str(message.get("role")), "text": "\n".join(filter(None, [text, compact(rest) if rest else ""]))}


def _as_text(content: Any) -> str:
    text = content if isinstance(content, str) else "" if content is None else compact(content)
    return text[:MOST_CHARS]


def _decoded(response: bytes | None) -> str | None:
    return None if response is None else response[: 4 * MOST_CHARS].decode(errors="replace")[:MOST_CHARS]


def _tokens(logprobs: Any) -> Iterator[dict[str, Any]]:
    """Yield each token with its probability and the alternatives, from either form in which APIs give them."""
    if not isinstance(logprobs, Mapping):
        return
    for token in (logprobs.get("content") or logprobs.get("refusal") or [])[:MOST_TOKENS]:
        others = [(each.get("token"), _probability(each.get("logprob"))) for each in token.get("top_logprobs") or []]
        yield _token(token.get("token"), token.get("logprob"), others)
    texts, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs") or [None] * len(texts)
    for text, value, top in list(zip(texts, values, tops, strict=False))[:MOST_TOKENS]:
        yield _token(text, value, [(other, _probability(each)) for other, each in (top or {}).items()])


def _token(text: Any, logprob: Any, others: list[tuple[Any, float | None]]) -> dict[str, Any]:
    alternatives = [[str(other), each] for other, each in others if other != text]
    return {"text": str(text), "probability": _probability(logprob), "others": alternatives}


def _probability(logprob: Any) -> float | None:
    with suppress(OverflowError):
        return math.exp(logprob) if isinstance(logprob, int | float) else None
    return None


def _perplexity(tokens: list[dict[str, Any]] | None) -> float | None:
    known = [token["probability"] for token in tokens or [] if token["probability"]]
    return math.exp(-sum(map(math.log, known)) / len(known)) if known else None
