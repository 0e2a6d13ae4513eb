"""The fault server itself, met by the openai client: what it serves is what its ledger says."""

import contextlib
import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import openai
import pytest

import faultserver
from faultserver import FAULT_NAMES, FaultServer, openai_duration, resolve

HERE = Path(__file__).parent
HELLO = [{"role": "user", "content": "hi"}]
KEY = "sk-test-1234567890"


@pytest.fixture
def connect():
    """Return a function that makes an openai client for a server, and close what it made."""
    with contextlib.ExitStack() as stack:

        def connect(base_url, *, max_retries=0, timeout=2.0):
            client = openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=max_retries, timeout=timeout)
            return stack.enter_context(client).chat.completions

        yield connect


def test_every_fault_ends_and_the_ledger_adds_up(fault_server, connect):
    """A client with a time-out gets through every fault, and each is one entry with an id of its own where billed."""
    chat = connect(fault_server.base_url, timeout=0.4)
    # A fresh connection each: after stale_keepalive some requests would meet the dead socket and never be served.
    headers = {"connection": "close"}
    for name in FAULT_NAMES:
        model = f"fault:{name},gap=0.001" if name == "drip" else f"fault:{name}"
        messages = [{"role": "user", "content": name}]
        # What the client makes of a fault, a broken answer or an exception, is the library's test, not this one.
        with contextlib.suppress(Exception):
            reply = chat.create(model=model, messages=messages, stream=name.startswith("sse_"), extra_headers=headers)
            for _ in reply:
                pass
    ledger = fault_server.ledger()
    assert [entry["fault"] for entry in ledger] == FAULT_NAMES
    billed = [entry for entry in ledger if entry["billed"]]
    assert len({entry["id"] for entry in billed}) == len(billed) == fault_server.stats()["billed"]
    assert min(entry["usage"]["completion_tokens"] for entry in billed) > 0


def test_every_fault_is_in_the_documentation():
    """The module's docstring names every fault."""
    words = set(faultserver.__doc__.replace("[", " ").split())
    assert set(FAULT_NAMES) - words == set()


def test_a_chain_goes_by_attempt(fault_server, connect):
    """The steps of a chain answer the attempts at one request in turn."""
    chat = connect(fault_server.base_url, max_retries=3)
    assert chat.create(model="fault:429,retry_after=0.01*2|500,retry_after=0.01|ok", messages=HELLO).usage
    served = [(entry["fault"], entry["attempt"], entry["sdk_retry_count"]) for entry in fault_server.ledger()]
    assert served == [("429", 1, "0"), ("429", 2, "1"), ("500", 3, "2"), ("ok", 4, "3")]


def test_a_mix_is_the_same_each_time_and_near_its_rates():
    """A mix depends on nothing but seed, request and attempt, and holds its shares."""
    drawn, again = ([resolve("mix:0.1=429;0.05=500;rest=ok", f"k{i}", 1, 7).name for i in range(20_000)] for _ in "ab")
    assert drawn == again
    assert [drawn.count("429"), drawn.count("500")] == pytest.approx([2000, 1000], abs=200)


def test_a_mix_passes_arguments():
    """Inside a mix a colon stands between a fault and its arguments."""
    fault = resolve("mix:1.0=429:retry_after=1:ms=1", "k", 1, 0)
    assert (fault.name, dict(fault.args)) == ("429", {"retry_after": "1", "ms": "1"})


def test_header_path_schedule_and_default_come_in_that_order(fault_server, connect):
    """A fault is taken from the first place that names one."""
    fault_server.set(default="500", schedule=[{"from_req": 3, "to_req": 3, "fault": "503,retry_after=0.01"}])
    chat = connect(fault_server.base_url)
    with pytest.raises(openai.InternalServerError):
        chat.create(model="m", messages=HELLO)
    assert chat.create(model="m", messages=HELLO, extra_headers={"x-fault": "ok"}).usage
    with pytest.raises(openai.InternalServerError, match="overloaded"):
        chat.create(model="m", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        connect(fault_server.base_url.replace("/v1", f"/f/{quote('404')}/v1")).create(model="m", messages=HELLO)
    assert [entry["fault_source"] for entry in fault_server.ledger()] == ["default", "header", "schedule", "path"]


def test_rate_limits_are_announced_and_kept(connect):
    """The headers count down, and the request after the last gets a 429 that says when to come back."""
    with FaultServer(rpm=60, tpm=100_000) as server:
        chat = connect(server.base_url)
        headers = [chat.with_raw_response.create(model="m", messages=HELLO).headers for _ in range(60)]
        assert {each["x-ratelimit-limit-requests"] for each in headers} == {"60"}
        assert int(headers[0]["x-ratelimit-remaining-requests"]) > int(headers[-1]["x-ratelimit-remaining-requests"])
        with pytest.raises(openai.RateLimitError) as caught:
            _ask_often(chat, times=20)  # the bucket refills one a second
        assert caught.value.code == "rate_limit_exceeded"
        assert {"retry-after", "retry-after-ms"} & set(caught.value.response.headers)
        assert server.ledger()[-1]["fault"] == "bucket_requests"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        pytest.param(0.012, "12ms", id="milliseconds"),
        pytest.param(1, "1s", id="a-second"),
        pytest.param(360, "6m0s", id="minutes"),
        pytest.param(61.5, "1m1.5s", id="a-fraction"),
    ],
)
def test_durations_are_written_as_openai_does(seconds, written):
    """Milliseconds below a second, minutes from sixty."""
    assert openai_duration(seconds) == written


@pytest.mark.parametrize(
    ("request_", "param", "code"),
    [
        pytest.param({"temperature": 3}, "temperature", "decimal_above_maximum_value", id="too-high"),
        pytest.param({"top_p": -1}, "top_p", "decimal_below_minimum_value", id="too-low"),
        pytest.param({"temperature": "warm"}, "temperature", "invalid_type", id="wrong-type"),
        pytest.param({"extra_body": {"tempratur": 1}}, "tempratur", "unknown_parameter", id="unknown"),
        pytest.param({"model": "gpt-5", "temperature": 0.2}, "temperature", "unsupported_value", id="reasoning"),
        pytest.param({"model": "o3", "max_tokens": 9}, "max_tokens", "unsupported_parameter", id="old-name"),
        pytest.param({"messages": []}, "messages", "empty_array", id="no-messages"),
    ],
)
def test_strict_refuses_as_openai_does(fault_server, connect, request_, param, code):
    """With `strict` a bad parameter is a 400 that names it."""
    fault_server.set(strict=True)
    with pytest.raises(openai.BadRequestError) as caught:
        connect(fault_server.base_url).create(**{"model": "m", "messages": HELLO, **request_})
    assert (caught.value.param, caught.value.code) == (param, code)


def test_an_unknown_switch_is_refused(fault_server):
    """A switch that does not exist raises instead of doing nothing."""
    with pytest.raises(TypeError, match="latency"):
        fault_server.set(latency=20)


def test_idempotency_keys_replay(connect):
    """With `idempotency` a key brings back the first answer, billed once, and refuses another body."""
    with FaultServer(idempotency=True) as server:
        chat, header = connect(server.base_url), {"Idempotency-Key": "k1"}
        first, second = (chat.create(model="m", messages=HELLO, extra_headers=header).id for _ in range(2))
        assert (first, server.stats()["billed"]) == (second, 1)
        with pytest.raises(openai.ConflictError):
            chat.create(model="other", messages=HELLO, extra_headers=header)


def test_billed_but_not_delivered_is_counted(fault_server, connect):
    """An answer cut in its body is on the bill, and known not to have arrived."""
    with pytest.raises(openai.APIConnectionError):
        connect(fault_server.base_url).create(model="fault:reset_body", messages=HELLO)
    assert fault_server.stats()["billed_not_delivered"] == 1


@pytest.mark.parametrize("bills", [pytest.param(False, id="unbilled"), pytest.param(True, id="billed")])
def test_a_client_that_leaves_is_seen(fault_server, connect, bills):
    """A client that hangs up while waiting is noted, and billed only with `bill_on_disconnect`."""
    fault_server.set(bill_on_disconnect=bills)
    with pytest.raises(openai.APITimeoutError):
        connect(fault_server.base_url, timeout=0.2).create(model="fault:slow,s=30", messages=HELLO)
    entry = fault_server.ledger()[-1]
    assert (entry["client_gone"], entry["billed"], entry["delivered"]) == (True, bills, False)


def test_a_stream_has_every_choice_and_its_usage(fault_server, connect):
    """A stream ends with the usage that was asked for, after pieces of all choices."""
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(connect(fault_server.base_url).create(model="m", messages=HELLO, n=3, **asked))
    entry = fault_server.ledger()[-1]
    assert {chunk.choices[0].index for chunk in chunks if chunk.choices} == {0, 1, 2}
    assert chunks[-1].usage.completion_tokens == entry["usage"]["completion_tokens"]
    assert entry["delivered"]


@pytest.mark.parametrize(
    ("fault", "choices", "counted"),
    [
        pytest.param("ok", 3, 3, id="as-asked"),
        pytest.param("no_n", 1, 1, id="one-whatever-was-asked"),
        pytest.param("usage_first_choice", 3, 1, id="usage-of-the-first-alone"),
    ],
)
def test_several_choices_come_and_are_counted(fault_server, connect, fault, choices, counted):
    """An answer has the choices that were asked for, and usage over all of them, unless the fault says otherwise."""
    answer = connect(fault_server.base_url).create(model=f"fault:{fault}", messages=HELLO, n=3)
    tokens = [len(choice.message.content) // 4 for choice in answer.choices]
    (entry,) = fault_server.ledger()
    assert [choice.index for choice in answer.choices] == list(range(choices))
    assert (answer.usage.completion_tokens, entry["usage"]["completion_tokens"]) == (sum(tokens[:counted]), sum(tokens))
    assert (answer.usage.total_tokens, entry["choices"]) == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens,
        choices,
    )


def test_n_can_be_refused_and_one_answered(fault_server, connect):
    """A server that knows no `n` says so, and answers without it."""
    chat = connect(fault_server.base_url)
    with pytest.raises(openai.BadRequestError) as caught:
        chat.create(model="fault:refuse_n", messages=HELLO, n=2)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "n")
    assert [len(chat.create(model="fault:refuse_n", messages=HELLO, **n).choices) for n in ({}, {"n": 1})] == [1, 1]


def test_a_clock_can_be_ahead(fault_server, connect):
    """Its Date and the date at which it asks to come back are off by the same."""
    fault_server.set(clock_skew_s=3600.0)
    with pytest.raises(openai.RateLimitError) as caught:
        connect(fault_server.base_url).create(model="fault:retry_after_date,s=7", messages=HELLO)
    (entry,) = fault_server.ledger()
    dates = [parsedate_to_datetime(caught.value.response.headers[name]) for name in ("date", "retry-after")]
    assert [date.timestamp() for date in dates] == [int(entry["t"] + 3600), int(entry["t"] + 3607)]


def test_the_busiest_window_is_found_by_key_and_model():
    """A window slides from request to request and is open at its end; tokens have a busiest window of their own."""
    server = FaultServer()
    received = [(0.0, 50), (1.0, 1), (2.5, 1), (2.9, 1), (3.0, 1), (9.0, 60)]
    server.service.entries = [
        {"t": t, "tokens": tokens, "model": model, "api_key_sha8": "k"} for model in "ab" for t, tokens in received
    ]
    server.service.entries.append({"t": 2.0, "tokens": 7, "model": "b", "api_key_sha8": "k"})
    assert server.busiest(3.0) == {("k", "a"): (4, 60), ("k", "b"): (5, 60)}
    assert server.busiest(0.5) == {("k", "a"): (2, 60), ("k", "b"): (2, 60)}


def test_what_counts_against_the_rate_is_size_and_all_that_may_be_answered(fault_server, connect):
    """As OpenAI counts: a quarter of the bytes, and the cap of every choice."""
    chat = connect(fault_server.base_url)
    for more in ({}, {"max_tokens": 100}, {"max_completion_tokens": 100, "n": 3}):
        chat.create(model="m", messages=HELLO, **more)
    counted = [(entry["tokens"] - entry["body_bytes"] // 4) for entry in fault_server.ledger()]
    ((whose, load),) = fault_server.busiest(60.0).items()
    assert (counted, whose[1], load.requests) == ([16, 100, 300], "m", 3)


def test_the_ledger_never_holds_the_key(fault_server, connect):
    """The key that a client sends is in no entry."""
    connect(fault_server.base_url).create(model="m", messages=HELLO)
    assert KEY not in json.dumps(fault_server.ledger())


@pytest.mark.parametrize(
    "name",
    [
        "ok",
        "emoji",
        "lone_surrogate",
        "nul",
        "truncated_json",
        "invalid_utf8",
        "captive_portal",
        "gzip",
        "nan_json",
        "huge",
    ],
)
def test_the_reply_hash_is_that_of_the_bytes_received(fault_server, connect, name):
    """The ledger's hash of a reply is the hash of what the client read."""
    reply = connect(fault_server.base_url).with_raw_response.create(model=f"fault:{name}", messages=HELLO)
    assert hashlib.sha256(reply.http_response.content).hexdigest() == fault_server.ledger()[-1]["reply_sha256"]


def test_settle_gives_up_on_a_request_that_hangs(fault_server):
    """Settling waits only so long for a request to end, and says that it did not."""
    fault_server.service.in_flight = 1
    assert fault_server.settle(timeout_s=0) is False


def test_a_process_keeps_its_ledger_through_kill_9(tmp_path, connect):
    """The server runs as a process too, and its ledger file survives its own sudden end."""
    port, ledger = tmp_path / "port", tmp_path / "ledger.jsonl"
    command = [sys.executable, "-m", "faultserver", "--port", "0", "--port-file", port, "--ledger", ledger]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL) as process:
        try:
            base_url = f"http://127.0.0.1:{_wait_for(port)}"
            connect(f"{base_url}/v1").create(model="m", messages=HELLO)
            with urllib.request.urlopen(f"{base_url}/__stats") as reply:
                assert json.load(reply)["billed"] == 1
        finally:
            process.kill()
    assert [json.loads(line)["event"] for line in ledger.read_text().splitlines()] == ["recv", "billed", "end"]


def test_only_loopback_is_served():
    """The process refuses an address that others could reach."""
    command = [sys.executable, "-m", "faultserver", "--host", "0.0.0.0"]  # noqa: S104 - this is what must be refused
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert (done.returncode, "loopback only" in done.stderr) == (2, True)


def _ask_often(chat, *, times: int) -> None:
    for _ in range(times):
        chat.create(model="m", messages=HELLO)


def _wait_for(path: Path) -> str:
    for _ in range(400):
        if path.exists():
            return path.read_text()
        time.sleep(0.05)
    pytest.fail(f"{path.name} was not written within 20 s")
