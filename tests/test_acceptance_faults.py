"""Every fault of the server, met once: its class, what follows, what is logged, and that nothing gives the key away.

Faults of streams are left out, and the acceptance suite's `cut_streams` with them: streaming is not offered, so a reply
comes whole or not at all. What a run makes of a fault that it meets often is in `test_acceptance_wire`.
"""

import io
import json
import logging
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import nbclient
import nbformat
import pytest

from faultserver import FAULT_NAMES, FaultServer
from promptlab import Lab, ParameterGrid
from promptlab.attempts import Failure, Outcome
from promptlab.retries import classify
from reckoning import attempts_of, disagreements, is_kept
from studies import ASK, BRISK

KEY = "sk-lab-" + "5ecret" * 4
PARTS = (KEY, KEY[7:-4])  # what a server may repeat of it

#: What follows a fault that the first of four requests meets, and how many requests are sent in all. The second has the
#: same model and parameters, the third the same model without them, the fourth the parameters and another model.
ACTIONS = {
    "taken": (["ok"] * 4, 4),
    "asked again": (["ok"] * 4, 5),
    "trial stopped": (["failed", "ok", "ok", "ok"], 4),
    "parameter stopped": (["failed", "stopped", "ok", "ok"], 3),
    "model stopped": (["failed", "stopped", "stopped", "ok"], 2),
    "run stopped": (["failed", "stopped", "stopped", "stopped"], 1),
}
SETTINGS = [
    {"model": "m", "temperature": 0.2, "max_tokens": 16},
    {"model": "m", "temperature": 0.2, "max_tokens": 16, "seed": 7},
    {"model": "m"},
    {"model": "n", "temperature": 0.2, "max_tokens": 16},
]


@dataclass(frozen=True)
class Row:
    """What is expected of a fault: its kind (None: an answer), what follows, and how its attempt is logged.

    `attempt` is state, status, error type and code; `flags` are the answer's. `lost` is how many requests may meet a
    connection that the fault left dead, and so never arrive.
    """

    kind: str | None
    action: str
    attempt: str
    flags: str = ""
    lost: int = 0


def answered(flags: str = "", **more: int) -> Row:
    """Return the row of a fault that is an answer all the same."""
    return Row(None, "taken", "ok 200 None None", flags, **more)


def unreadable(code: str) -> Row:
    """Return the row of a reply that was paid for and holds no answer: it is asked for once more."""
    return Row("bad_reply", "asked again", f"error 200 bad_reply {code}")


def broken(error: str) -> Row:
    """Return the row of an exchange that broke after it was sent: maybe paid."""
    return Row("unknown", "asked again", f"unknown None {error} None")


def passing(said: str) -> Row:
    """Return the row of an error that cost nothing and may pass."""
    return Row("transient", "asked again", f"error {said}")


def throttled(said: str) -> Row:
    """Return the row of a server that is asked too fast."""
    return Row("throttle", "asked again", f"error {said}")


def refused(kind: str, scope: str, said: str) -> Row:
    """Return the row of an error that asking again does not change."""
    return Row(kind, f"{scope} stopped", f"error {said}")


ROWS = {
    "ok": answered(),
    # Errors in the API's own shape
    "400": refused("request", "trial", "400 invalid_request_error None"),
    "unsupported_temperature": refused("parameter", "parameter", "400 invalid_request_error unsupported_value"),
    "unsupported_parameter": refused("parameter", "parameter", "400 invalid_request_error unsupported_parameter"),
    "context_length": refused("request", "trial", "400 invalid_request_error context_length_exceeded"),
    "content_policy": refused("request", "trial", "400 invalid_request_error content_policy_violation"),
    "azure_content_filter": refused("request", "trial", "400 invalid_request_error content_filter"),
    "401": refused("account", "run", "401 invalid_request_error invalid_api_key"),
    "402": refused("account", "run", "402 payment_required None"),
    "403": refused("account", "run", "403 request_forbidden unsupported_country_region_territory"),
    "404": refused("model", "model", "404 invalid_request_error model_not_found"),
    "408": passing("408 timeout None"),
    "409": passing("409 conflict None"),
    "413": refused("request", "trial", "413 invalid_request_error request_too_large"),
    "422": refused("request", "trial", "422 invalid_request_error None"),
    "429": throttled("429 requests rate_limit_exceeded"),
    "429_tpm": throttled("429 tokens rate_limit_exceeded"),
    "slow_down": throttled("429 rate_limit_error slow_down"),
    "retry_after_date": throttled("429 requests rate_limit_exceeded"),
    "retry_after_garbage": throttled("429 requests rate_limit_exceeded"),
    "insufficient_quota": refused("account", "run", "429 insufficient_quota insufficient_quota"),
    "credit_balance_exhausted": refused("account", "run", "429 insufficient_quota credit_balance_exhausted"),
    "project_spend_limit_exceeded": refused("account", "run", "429 insufficient_quota project_spend_limit_exceeded"),
    "500": passing("500 server_error None"),
    "503": throttled("503 service_unavailable_error server_is_overloaded"),
    "529": passing("529 overloaded_error None"),
    # Pages of others on the way
    "502_html": passing("502 HTTP 502 None"),
    "504_html": passing("504 HTTP 504 None"),
    "proxy_403_html": refused("account", "run", "403 HTTP 403 None"),
    "captive_portal": unreadable("not_json"),
    "redirect": refused("request", "trial", "307 HTTP 307 None"),
    # Transport
    "close_before": broken("reset"),
    "reset_before": broken("reset"),
    "reset_headers": broken("reset"),
    "served_then_reset": broken("reset"),
    "reset_body": broken("body_cut"),
    "close_body": broken("body_cut"),
    "chunked_truncated": broken("body_cut"),
    "hang": broken("late"),
    "hang_after_headers": broken("late"),
    "served_then_hang": broken("late"),
    "garbage": broken("protocol"),
    "big_header": broken("protocol"),
    "slow": answered(),
    "drip": answered(),
    "stale_keepalive": answered(lost=1),
    "http10": answered(),
    "gzip": answered(),
    "bad_gzip": unreadable("not_json"),
    # Bodies
    "invalid_json": unreadable("not_json"),
    "truncated_json": unreadable("not_json"),
    "empty_body": unreadable("empty"),
    "json_null": unreadable("no_choices"),
    "json_list": unreadable("no_choices"),
    "json_string": unreadable("no_choices"),
    "invalid_utf8": unreadable("not_json"),
    "latin1": unreadable("not_json"),
    "error_in_200": Row("bad_reply", "asked again", "error 200 upstream_error 502"),
    "utf8_bom": answered(),
    "nan_json": answered(),
    "deep_json": answered(),
    "wrong_content_type": answered(),
    "no_content_type": answered(),
    # Shapes
    "empty_choices": unreadable("no_choices"),
    "null_choices": unreadable("no_choices"),
    "missing_choices": unreadable("no_choices"),
    "fewer_choices": answered(),  # than the one asked for there cannot be
    "null_content": answered("null"),
    "refusal": answered("refusal"),
    "content_filter": answered("content_filter, blank"),
    "length": answered("length"),
    "tool_calls": answered("tool_calls"),
    "unknown_finish": answered("unknown_finish"),
    "null_finish": answered("no_finish"),
    "no_usage": answered("no_usage"),
    "zero_usage": answered("no_usage"),
    "string_usage": answered("no_usage"),
    "negative_usage": answered("no_usage"),
    "extra_fields": answered(),
    "other_model": answered("other_model"),
    "dup_id": answered(),
    "refuse_n": answered(),  # these three differ only where several choices are asked for
    "no_n": answered(),
    "usage_first_choice": answered(),
    # What a model may say
    "nul": answered(),
    "lone_surrogate": answered("surrogates"),
    "emoji": answered(),
    "rtl": answered(),
    "ansi": answered(),
    "html": answered(),
    "markdown": answered(),
    "csv": answered(),
    "jinja": answered(),
    "sql": answered(),
    "secret": answered(),
    "newlines": answered(),
    "blank": answered("blank"),
    "spaces": answered("blank"),
    "bom": answered(),
    "huge": answered(),
    "long_line": answered(),
    "fences": answered(),
    "json_text": answered(),
}
FAULTS = [name for name in FAULT_NAMES if not name.startswith("sse_")]
#: The same faults, in a hurry.
BRIEFLY = {"slow": "slow,ms=50", "drip": "drip,gap=0.001", "retry_after_date": "retry_after_date,s=1"}
LATE_S = 0.3  # the deadline of a request that is sure to miss it


@dataclass(frozen=True)
class Met:
    """What one fault came to: the frame, the attempts, the ledger, and where the last two disagree."""

    statuses: list[str]
    flags: str
    attempts: list
    entries: list
    disagreements: list[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the file of all faults is, and nothing else."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def log():
    """All that is logged while the faults are met, at level DEBUG."""
    return io.StringIO()


@pytest.fixture(scope="module")
def met(folder, log):
    """Every fault, met by the first of four requests, each time over fresh connections; all in one file."""
    with FaultServer() as server, _logged(log):
        return {fault: _met(fault, server, folder / "lab.db") for fault in FAULTS}


@contextmanager
def _logged(log):
    root, handler = logging.getLogger(), logging.StreamHandler(log)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    root.setLevel(level)


def _met(fault, server, path):
    server.reset()
    server.set(schedule=[{"from_req": 1, "to_req": 1, "fault": BRIEFLY.get(fault, fault)}])
    policy = replace(BRISK, deadline_s=LATE_S) if "hang" in fault else BRISK
    with Lab(path, base_url=server.base_url, api_key=KEY, policy=policy) as lab:
        plan = lab.plan(ASK, ParameterGrid(SETTINGS), cases=[{"q": fault}])
        run = lab.run(plan, name=fault, concurrency=1, progress=False)
        frame, attempts, found = run.frame(), attempts_of(lab, run), disagreements(lab, server, run)
    return Met(list(frame["status"]), frame["flags"][0], attempts, server.ledger(), found)


def logged(attempt):
    """Return how an attempt is logged; the client's time-out and ours end at the same moment."""
    status, kind = attempt["http_status"], attempt["error_type"]
    kind = "late" if status is None and kind in {"timeout", "deadline"} else kind
    return f"{attempt['state']} {status} {kind} {attempt['error_code']}"


def kind_of(attempt):
    """Return the kind that the runner has for a failed attempt."""
    if attempt["state"] == "ok":
        return None
    failure = Failure(attempt["error_type"], "", attempt["error_code"], attempt["error_param"])
    status, wait_s = attempt["http_status"], attempt["retry_after_s"]
    return classify(Outcome(attempt["state"], failure=failure, http_status=status, retry_after_s=wait_s))


def test_every_fault_of_the_catalogue_has_its_row():
    """A fault that is added to the server has to be given a row here."""
    assert sorted(ROWS) == FAULTS


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_once(met, fault):
    """Each fault has its class, state and consequence; what was served is what was logged, and nothing beyond it."""
    row, found = ROWS[fault], met[fault]
    statuses, requests = ACTIONS[row.action]
    seen = Row(kind_of(found.attempts[0]), row.action, logged(found.attempts[0]), found.flags, row.lost)
    assert (seen, found.statuses) == (row, statuses)
    assert (len(found.entries), found.disagreements) == (requests, [])
    assert 0 <= len(found.attempts) - requests <= row.lost


@pytest.mark.slow
def test_sdk_retries_off(met):
    """The client never retries by itself: every request served says that it is its first time."""
    entries = [entry for found in met.values() for entry in found.entries]
    assert {entry["sdk_retry_count"] for entry in entries} == {"0"}
    sent = sum(ACTIONS[row.action][1] for row in ROWS.values())
    assert len({entry["client_request_id"] for entry in entries}) == len(entries) == sent


@pytest.mark.slow
def test_raw_bytes(met):
    """The bytes that were delivered are in the file, whatever they are; the three that cannot be are named."""
    rows = {row["client_request_id"]: row for found in met.values() for row in found.attempts}
    entries = [entry for found in met.values() for entry in found.entries]
    lost = {entry["fault"] for entry in entries if not entry["delivered"]}
    changed = [
        entry["fault"]
        for entry in entries
        if entry["delivered"] and not is_kept(entry, rows[entry["client_request_id"]])
    ]
    # With the key in it, cut in its compression, and with a head that no client reads
    assert sorted(changed) == ["401", "bad_gzip", "big_header"]
    assert lost == {fault for fault, row in ROWS.items() if row.kind == "unknown"} - {"big_header"}


@pytest.mark.slow
def test_key_nowhere(met, folder, log):
    """The key is neither in the file nor in what is logged at level DEBUG, though every fault was met with it."""
    entries = [entry for found in met.values() for entry in found.entries]
    written = b"".join(path.read_bytes() for path in folder.iterdir()) + log.getvalue().encode()
    assert {entry["api_key_sha8"] for entry in entries} == {sha256(f"Bearer {KEY}".encode()).hexdigest()[:8]}
    assert log.getvalue().count("HTTP Request: POST") >= sum(entry["delivered"] for entry in entries) > 400
    assert [part for part in PARTS if part.encode() in written] == []


SET_UP = """
%xmode Verbose
from promptlab import Lab, RetryPolicy
from studies import ASK
impatient = RetryPolicy(attempts=1, bad_replies=0, outage_s=0.0, deadline_s=0.3)
lab = Lab("lab.db", base_url="{base_url}", policy=impatient)
lab
"""
ASKING = 'lab.ask(ASK, {{"q": "why?"}}, model="fault:{fault}", temperature=1, max_tokens=16)'
SHOWING = """
import os
def told(key):
    key.nothing_like_it
told(os.environ["OPENAI_API_KEY"])
"""


@pytest.mark.slow
def test_key_nowhere_in_a_notebook(tmp_path):
    """Asked without patience every fault raises, and neither IPython's verbose tracebacks nor the file show the key."""
    failing = [fault for fault, row in ROWS.items() if row.kind]
    with FaultServer() as server:
        sources = [SET_UP.format(base_url=server.base_url), *(ASKING.format(fault=fault) for fault in failing), SHOWING]
        _set_up, *shown, last = executed(sources, tmp_path)
        entries = server.ledger()
    assert [entry["fault"] for entry in entries] == failing
    assert [fault for fault, text in zip(failing, shown, strict=True) if "BackendError: no answer: " not in text] == []
    assert [fault for fault, text in zip(failing, shown, strict=True) if any(part in text for part in PARTS)] == []
    assert [part for part in PARTS if part.encode() in (tmp_path / "lab.db").read_bytes()] == []
    assert KEY in last  # a traceback can show it


def executed(sources, folder):
    """Return what the cells of a notebook show when it is executed in a folder, with the key in the environment."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = nbclient.NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": str(folder)}})
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    client.execute(env={**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": path})
    return [ANSI.sub("", json.dumps(cell.outputs, ensure_ascii=False)) for cell in notebook.cells]


ANSI = re.compile(r"\\u001b\[[0-9;]*m")
