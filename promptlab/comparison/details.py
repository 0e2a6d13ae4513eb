"""All there is to know of one answer: exact request and response, attempts, tokens, and what was said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from promptlab import judgements, results
from promptlab._json import compact
from promptlab.comparison.cells import Place, draw, head, label
from promptlab.comparison.table import Table
from promptlab.results import LoggedRequest

MOST_CHARS = 200_000  # of one text
MOST_TOKENS = 5_000
_ATTEMPT = (
    *("id", "number", "state", "http_status", "sent_at", "latency_ms", "error_type", "error_message"),
    *("prompt_tokens", "completion_tokens", "cost_usd"),
)

_TRIAL = """
select coalesce(attempts.request_id, samples.request_id) as request_id, outputs.id as output_id,
  outputs.attempt_id, outputs.logprobs, outputs.refusal, outputs.tool_calls, trials.case_id
from trials join samples on samples.id = trials.sample_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = outputs.attempt_id
where trials.id = ?
"""
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
    mine = set(results.attempts_of(table.store, drawn["trial_id"]))
    attempts = [attempt for attempt in logged.attempts if attempt["id"] in mine]
    answer = next((each for each in attempts if each["id"] == trial["attempt_id"]), attempts[-1] if attempts else {})
    output = trial["output_id"]
    said = {"ratings": [], "notes": []} if output is None else judgements.said(table.store, output)
    return {
        "row": head(table, row, chars=MOST_CHARS),
        "column": [label(value) for value in table.layout.columns[column]],
        "cell": drawn,
        "baseline": drawn["reference"] if table.layout.spec.reference else _baseline(table, cell),
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
        "logprobs": None if trial["logprobs"] is None else _cut(json.loads(trial["logprobs"])),
        "scores": [dict(each) for each in table.store.read(_SCORES, (output, trial["case_id"]))],
        **said,
    }


def _baseline(table: Table, cell: int) -> str | None:
    """Return the whole text of the cell that a cell is compared with."""
    layout = table.layout
    other = None if layout.spec.column_baseline is None else layout.base_of(cell)
    if other is None:
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


def _cut(logprobs: Any) -> Any:
    """Return the first tokens of log probabilities, in whatever form the API gave them."""
    if not isinstance(logprobs, Mapping):
        return logprobs
    return {name: value[:MOST_TOKENS] if isinstance(value, list) else value for name, value in logprobs.items()}
