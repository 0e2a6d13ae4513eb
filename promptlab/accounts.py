"""What attempts cost and took: the money of a run, and what limits have to count. Nothing here writes.

Unknown is counted apart: an attempt without a known end may have been billed, one of a model without a price was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlab.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run spent: every attempt, failed ones included; tokens are those that replies counted.

    `unknown` counts attempts whose end is not known and that may have been billed, `unpriced` those whose price is not.
    `cost_usd` is the sum of the others, None when no attempt has a known cost; `reserved_usd` is what the unknown ones
    may have cost at most, as far as that is known.
    """

    attempts: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    unknown: int
    unpriced: int
    reserved_usd: float


_SPENDING = """
select count(*) as attempts, coalesce(sum(prompt_tokens), 0) as prompt_tokens,
  coalesce(sum(cached_tokens), 0) as cached_tokens, coalesce(sum(completion_tokens), 0) as completion_tokens,
  coalesce(sum(reasoning_tokens), 0) as reasoning_tokens,
  case when count(*) = 0 then 0.0
    when sum(cost_usd) > 0 or sum(cost_usd is null and state != 'sent') = 0 then coalesce(sum(cost_usd), 0.0) end
    as cost_usd,
  coalesce(sum(state in ('unknown', 'sent')), 0) as unknown,
  coalesce(sum(cost_usd is null and state not in ('unknown', 'sent')), 0) as unpriced,
  coalesce(sum(iif(cost_usd is null and state in ('unknown', 'sent'), reserved_usd, 0)), 0.0) as reserved_usd
from attempts where run_id = ?
"""


def spending(store: Store, run_id: int) -> Spending:
    """Return what a run spent."""
    return Spending(**dict(store.read(_SPENDING, (run_id,))[0]))


#: The columns of `run.attempts()`.
ATTEMPT_COLUMNS = {
    "attempt_id": "int64",
    "request_id": "int64",
    "sent_at": "str",
    "state": "str",
    "http_status": "Int64",
    "error_type": "str",
    "latency_ms": "float64",
    "prompt_tokens": "Int64",
    "completion_tokens": "Int64",
    "cost_usd": "float64",
}
_ATTEMPTS = """
select id, request_id, sent_at, state, http_status, error_type, latency_ms, prompt_tokens, completion_tokens, cost_usd
from attempts where run_id = ? order by id
"""


def attempts(store: Store, run_id: int) -> pd.DataFrame:
    """Return the attempts of a run in the order of sending, with the columns of `ATTEMPT_COLUMNS`."""
    import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

    rows = [tuple(row) for row in store.read(_ATTEMPTS, (run_id,))]
    return pd.DataFrame(rows, columns=list(ATTEMPT_COLUMNS)).astype(ATTEMPT_COLUMNS)


_MOST_COMPLETION = """
  coalesce(json_extract(requests.body, '$.max_completion_tokens'), json_extract(requests.body, '$.max_tokens'), 0)
  * coalesce(json_extract(requests.body, '$.n'), 1) * coalesce(json_extract(requests.body, '$.best_of'), 1)
"""
_UNKNOWN_COSTS = f"""
select requests.model,
  length(cast(requests.body as blob)) * coalesce(json_extract(requests.body, '$.n'), 1) as most_prompt,
  {_MOST_COMPLETION} as most_completion, reserved_usd
from attempts join requests on requests.id = attempts.request_id where run_id = ? and cost_usd is null
"""  # noqa: S608 - a query of our own
_SENT_SINCE = f"""
select (julianday(sent_at) - 2440587.5) * 86400.0 as at_s,
  max(coalesce(prompt_tokens, length(cast(requests.body as blob))), length(cast(requests.body as blob)) / 4.0)
  + {_MOST_COMPLETION} as tokens
from attempts join requests on requests.id = attempts.request_id
where sent_at >= ? and exists (
  select 1 from attempt_samples join samples on samples.id = sample_id
  where attempt_id = attempts.id and samples.backend = ?)
order by sent_at
"""  # noqa: S608 - a query of our own


@dataclass(frozen=True, slots=True)
class UnknownCost:
    """An attempt whose cost is not known: what was reserved for it, and the most tokens it can have taken."""

    model: str
    most_prompt: int
    most_completion: int
    reserved_usd: float | None


def unknown_costs(store: Store, run_id: int) -> list[UnknownCost]:
    """Return the attempts of a run whose cost is not known."""
    return [UnknownCost(*row) for row in store.read(_UNKNOWN_COSTS, (run_id,))]


def sent_since(store: Store, identity: str, since: str) -> list[tuple[float, float]]:
    """Return when each attempt at a backend since a time was sent (epoch seconds), and the tokens it took at most."""
    return [(row["at_s"], row["tokens"]) for row in store.read(_SENT_SINCE, (since, identity))]
