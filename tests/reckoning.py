"""The server's ledger and the file side by side: each request served has its row, and each row its bytes."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator

from faultserver import FaultServer
from faultserver.catalogue import Json
from promptlab import Lab, Run

_ATTEMPTS = """
select client_request_id, state, http_status, error_type, error_code, error_param, retry_after_s, redacted, response,
  prompt_tokens, completion_tokens, cost_usd, runs.name as run
from attempts join runs on runs.id = attempts.run_id where :run_id in (0, run_id) order by attempts.id
"""
#: Handed to the client whole, and cut where it was compressed: there are no whole bytes to keep.
_CUT_IN_TRANSIT = frozenset({"bad_gzip"})


def attempts_of(lab: Lab, run: Run | None = None) -> list[sqlite3.Row]:
    """Return every attempt of a run, or of the whole file, in the order in which they were sent."""
    return lab.store.read(_ATTEMPTS, {"run_id": run.id if run else 0})


def disagreements(lab: Lab, server: FaultServer, run: Run | None = None) -> list[str]:
    """Return in what the server's ledger and the file (or one run in it) disagree.

    They agree when each request was served once and has its one row, when a row that was never served is named
    `unknown`, when no answer that was billed and not delivered passes for anything else, and when status and bytes of
    all other replies are those that were served.
    """
    rows, entries = attempts_of(lab, run), server.ledger()
    served = {entry["client_request_id"]: entry for entry in entries}
    logged = {row["client_request_id"]: row for row in rows}
    times = Counter(entry["client_request_id"] for entry in entries)
    return [
        *(f"{each} was served {count} times" for each, count in times.items() if count > 1),
        *(f"{served[each]['fault']} was served and not logged" for each in served if each not in logged),
        *(f"{row['state']} was never served" for each, row in logged.items() if each not in served | _unknown(rows)),
        *(problem for each, entry in served.items() if each in logged for problem in _problems(entry, logged[each])),
    ]


def _unknown(rows: list[sqlite3.Row]) -> dict[str, Json]:
    return {row["client_request_id"]: {} for row in rows if row["state"] == "unknown"}


def _problems(entry: Json, row: sqlite3.Row) -> Iterator[str]:
    if row["state"] == "unknown":
        return
    if entry["billed"] and not entry["delivered"]:
        yield f"{entry['fault']} was billed and not delivered, and is logged as {row['state']}"
    if row["http_status"] != entry["status"]:
        yield f"{entry['fault']} had status {entry['status']}, and is logged with {row['http_status']}"
    if not (row["redacted"] or entry["fault"] in _CUT_IN_TRANSIT or is_kept(entry, row)):
        yield f"{entry['fault']} is logged with other bytes than were served"


def is_kept(entry: Json, row: sqlite3.Row) -> bool:
    """Whether a row holds the very bytes that were served."""
    return row["response"] is not None and hashlib.sha256(row["response"]).hexdigest() == entry["reply_sha256"]
