"""The switch `strict`: parameters are refused the way OpenAI refuses them."""

from faultserver.catalogue import REQUEST, Json

RANGES = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
REASONING_MODELS = ("o1", "o3", "o4", "gpt-5")
KNOWN = """
    model messages temperature top_p n stream stream_options stop max_tokens max_completion_tokens
    presence_penalty frequency_penalty logit_bias user seed logprobs top_logprobs response_format tools
    tool_choice parallel_tool_calls metadata store service_tier reasoning_effort verbosity modalities
    prediction audio functions function_call safety_identifier prompt_cache_key web_search_options
"""
KNOWN_NAMES = frozenset(KNOWN.split())


def complaint(body: Json) -> Json | None:
    """Return the first thing OpenAI would refuse in a request body, None where all is well."""
    return _missing(body) or _out_of_range(body) or _unsupported(body) or _unknown(body)


def _error(message: str, param: str, code: str | None = None) -> Json:
    return {"message": message, "type": REQUEST, "param": param, "code": code}


def _missing(body: Json) -> Json | None:
    if not body.get("model"):
        return _error("you must provide a model parameter", "model")
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        return _error(message, "messages", "empty_array")
    return None


def _out_of_range(body: Json) -> Json | None:
    for name, (low, high) in RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = f"Invalid type for '{name}': expected a decimal, but got {type(value).__name__} instead."
            return _error(message, name, "invalid_type")
        if not low <= value <= high:
            side, sign, bound = ("above maximum", "<=", high) if value > high else ("below minimum", ">=", low)
            message = (
                f"Invalid '{name}': decimal {side} value. Expected a value {sign} {bound}, but got {value} instead."
            )
            return _error(message, name, f"decimal_{side.replace(' ', '_')}_value")
    return None


def _unsupported(body: Json) -> Json | None:
    if not str(body["model"]).startswith(REASONING_MODELS):
        return None
    if body.get("temperature") not in (None, 1):
        message = (
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. "
            "Only the default (1) value is supported."
        )
        return _error(message, "temperature", "unsupported_value")
    if "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return _error(message, "max_tokens", "unsupported_parameter")
    return None


def _unknown(body: Json) -> Json | None:
    for name in body:
        if name not in KNOWN_NAMES:
            return _error(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    return None
