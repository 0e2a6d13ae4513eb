"""What hypothesis draws for more than one file of tests."""

from hypothesis import strategies as st

#: Characters that a file, a terminal, SQLite or HTML may take amiss, which are rarely drawn from all.
_ODD = (
    "\ud800",
    "\udfff",
    "\0",
    "\r",
    "\n",
    "\t",
    "\x1b",
    "\x85",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\U000e0041",
    "<",
    "&",
    '"',
    "'",
)


def _joined(characters: list[str]) -> str:
    """Return them as one text; two surrogates that make a pair are the character that they are, as JSON has it."""
    return "".join(characters).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


#: Any text that Python can hold, unpaired surrogates and control characters too.
any_text = st.lists(st.characters() | st.sampled_from(_ODD), max_size=12).map(_joined)

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)

#: Any value that JSON can hold.
json_values = st.recursive(
    st.none() | st.booleans() | numbers | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)

#: Lines that mean something in a template's file, and pieces of such lines.
_LINES = ("# system", "# user json", r"\# user", r"\\# text", "# User", "## user", "---", "", " ", "\r", "\ud800")

#: Texts of messages, among them those that look like a template's file.
prompt_texts = st.lists(st.sampled_from(_LINES) | any_text, max_size=5).map("\n".join) | any_text
