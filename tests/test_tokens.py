"""Estimates of tokens: from a file's own ratio, from tiktoken, or from bytes."""

import subprocess
import sys

import pytest

from promptlab import tokens


class Words:
    """Stands for one of tiktoken's encodings: a word is a token."""

    def encode_ordinary(self, text):
        """Return the words."""
        return text.split()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, 104, id="bytes and one message"),
        pytest.param({"messages": 3}, 112, id="bytes and messages"),
        pytest.param({"messages": 3, "tokens_per_byte": 0.5}, 200, id="ratio, which includes messages"),
        pytest.param({"tokens_per_byte": 0.0001}, 1, id="never none"),
    ],
)
def test_an_estimate_rests_on_the_best_that_is_known(options, expected):
    """400 bytes are 100 tokens unless this model's own usage says otherwise."""
    assert tokens.estimate(400, **options) == expected


def test_a_sample_of_prompts_gives_a_ratio():
    """Tokens and messages over bytes of UTF-8; what UTF-8 cannot hold counts one byte."""
    assert tokens.sampled_ratio(["two words", "é\ud800"], messages=2, encoding=Words()) == (2 + 8 + 1 + 8) / (9 + 3)


@pytest.mark.parametrize(
    ("texts", "encoding"),
    [
        pytest.param(["two words"], None, id="no encoding"),
        pytest.param([], Words(), id="no prompts"),
        pytest.param([""], Words(), id="empty prompts"),
    ],
)
def test_no_sample_gives_no_ratio(texts, encoding):
    """Without an encoding or a byte there is nothing to go by."""
    assert tokens.sampled_ratio(texts, messages=1, encoding=encoding) is None


FAKE_TIKTOKEN = """
import sys, types
fake = types.ModuleType("tiktoken")
errors = {"unknown": KeyError("unknown"), "offline": OSError("no network")}
def encoding_for_model(model):
    if model in errors:
        raise errors[model]
    return "encoding of " + model
fake.encoding_for_model = encoding_for_model
sys.modules["tiktoken"] = fake if sys.argv[1] == "installed" else None
from promptlab import tokens
print([tokens.encoding_of(model) for model in ("known", "unknown", "offline")])
"""


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param("installed", "['encoding of known', None, None]\n", id="installed"),
        pytest.param("absent", "[None, None, None]\n", id="absent"),
    ],
)
def test_tiktoken_is_used_where_it_is_and_knows_the_model(extra, expected):
    """Neither a missing extra, nor an unknown model, nor a missing network is an error."""
    done = subprocess.run([sys.executable, "-c", FAKE_TIKTOKEN, extra], capture_output=True, text=True, check=True)
    assert done.stdout == expected
