r"""An OpenAI-compatible chat-completions server on loopback that fails on purpose and keeps a ledger.

The ledger is what was *served*; a test reconciles it with what was *logged*. Standard library only.

    with FaultServer(latency_ms=20, rpm=600) as server:           # in a thread; the fixture `fault_server` is one
        client = OpenAI(base_url=server.base_url, api_key="sk-test")
        server.set(default="500*2|ok"); server.ledger(); server.stats(); server.reset()

    python -m faultserver --port 8399 --ledger ledger.jsonl       # in tests/: the same as a process

**Endpoints.** POST /v1/chat/completions (plain, `stream`, `n`, `max_tokens`, `logprobs`), GET /v1/models, the same
below /f/SPEC/v1 with a fault chosen by base URL, and for tests in other processes GET /__health, /__stats, /__ledger,
/__faults, GET or POST /__config, POST /__reset.

**Which fault** (first match wins): header `x-fault: SPEC`, model `fault:SPEC`, path /f/SPEC/v1, `schedule`, `default`.
A SPEC is a chain of steps by attempt at the same logical request, of which the last repeats:

    429,retry_after=0.2*2|500|ok                      two 429s, one 500, then good
    mix:0.1=429:retry_after=1;0.01=reset_body;rest=ok by chance, but the same each time; `:` before an argument here

The logical request is X-Client-Request-Id, else Idempotency-Key, else the hash of the body (`key_by`). A schedule is a
list of {"from_req": 1, "to_req": 99, "fault": "ok"}, {"from_s": 5, "to_s": 8, "fault": "503"} or
{"every": 10, "fault": "500"}.

**Faults** (`FAULT_NAMES`; arguments in brackets):

- good: ok[ms, tokens]
- errors in OpenAI's shape [retry_after, ms=1, should_retry]: 400 unsupported_temperature unsupported_parameter
  context_length content_policy azure_content_filter 401 402 403 404 408 409 413 422 429 429_tpm slow_down
  insufficient_quota credit_balance_exhausted project_spend_limit_exceeded 500 503 529
  retry_after_date[s] retry_after_garbage[value]
- not the API at all: 502_html 504_html proxy_403_html captive_portal redirect[to, status]
- transport: close_before reset_before reset_headers hang hang_after_headers slow[s, ms] drip[bytes, gap] reset_body[at]
  close_body[at] chunked_truncated stale_keepalive[after] garbage http10 big_header[size] gzip bad_gzip
- paid and lost (billed, never delivered): served_then_reset served_then_hang reset_body close_body chunked_truncated
- body: invalid_json truncated_json[at] empty_body json_null json_list json_string wrong_content_type[type]
  no_content_type invalid_utf8 latin1 utf8_bom nan_json deep_json[depth] error_in_200
- shape: empty_choices null_choices missing_choices fewer_choices null_content refusal content_filter length tool_calls
  unknown_finish null_finish no_usage zero_usage string_usage negative_usage extra_fields other_model dup_id
- several choices, all well without `n` (refuse_n: a 400 in OpenAI's shape; no_n: one choice, whatever was asked for;
  usage_first_choice: all of them, and usage that counts the first alone): refuse_n no_n usage_first_choice
- awkward content: nul lone_surrogate emoji rtl ansi html markdown csv jinja sql secret newlines blank spaces bom
  huge[size] long_line[size] fences json_text
- streams [after, chunk]: sse_error sse_truncated sse_reset sse_no_usage sse_bad_json sse_slow[gap] sse_split_utf8
  sse_pings sse_crlf sse_empty sse_no_finish sse_as_json

**Switches**: see `Switches`. `rpm` and `tpm` are buckets a key and model, with real x-ratelimit-* headers; a refused
request costs a tenth. `strict` checks parameters as OpenAI does. `bill_on_disconnect` bills a client that hangs up
while waiting. `idempotency` replays by Idempotency-Key as Stripe does, which OpenAI does not. `clock_skew_s` sets the
server's clock ahead: its Date header, and the dates at which it asks to come back.

**Ledger**: one entry a request: seq, t, conn, key, attempt, client_request_id, idempotency_key, sdk_retry_count, model,
params, tokens (as `tpm` counts them), api_key_sha8 (never the key), body_sha256, fault, fault_source, status, billed,
choices, id, usage (what was billed, whatever the reply says), delivered, client_gone, bytes, ms, reply_sha256 (before
content encoding). With `ledger_path` each of its events (recv, billed, end) is a JSON line written before the next byte
goes out. `id` is unique a billed answer, so that `set(ledger ids) - set(logged ids)` is the money lost. `delivered`
means handed to the kernel's socket buffer, not read by the client. `server.busiest(3.0)` is the most requests and
tokens that came within 3 s, by key and model.
"""

from faultserver.catalogue import FAULT_NAMES
from faultserver.service import Service, Switches, openai_duration
from faultserver.specs import Fault, resolve
from faultserver.threaded import FaultServer

__all__ = ["FAULT_NAMES", "Fault", "FaultServer", "Service", "Switches", "openai_duration", "resolve"]
