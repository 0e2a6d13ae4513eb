"""Messages as a Markdown file with front matter, and back, exactly.

    ---
    name: terse
    ---

    # system

    Answer with one word.

    # user

    {{ question }}

A message that is more than a role and plain text stands as JSON under a heading such as `# user json`. A line of a
prompt that itself looks like a heading is written with a backslash before it. Reading what was written gives the same
messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from promptlab._json import utf8

_HEADING = re.compile(r"^# ([a-z]+)( json)?$")
_ESCAPED = re.compile(r"^\\+# [a-z]+(?: json)?$")
_YAML_BREAKS = re.compile("[\x85\u2028\u2029]")  # which PyYAML folds into blanks unless they are written as escapes


def write(head: Mapping[str, str], messages: Iterable[Mapping[str, Any]]) -> str:
    """Return the file's text; empty fields of the head are left out."""
    fields = {name: value for name, value in head.items() if value}
    is_safe = not any(_YAML_BREAKS.search(value) for value in fields.values())
    front = yaml.safe_dump(fields, allow_unicode=is_safe, sort_keys=False)
    return f"---\n{front}---\n\n{write_messages(messages)}"


def write_messages(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return the messages alone, one heading each."""
    return "\n".join(_written(message) for message in messages)


def read(text: str, *, roles: Sequence[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the head and the messages of a file's text; raise `ValueError` with what to mend."""
    found = re.match(r"---\n(.*?\n)---\n(.*)\Z", text, re.DOTALL)
    if not found:
        msg = "a template file begins with front matter: 'name: ...' between two --- lines"
        raise ValueError(msg)
    return _read_head(found[1]), _read_messages(found[2], roles)


def _written(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if set(message) == {"role", "content"} and isinstance(content, str) and _survives(content):
        lines = ["\\" + line if _HEADING.match(line) or _ESCAPED.match(line) else line for line in content.split("\n")]
        return f"# {message['role']}\n\n" + "\n".join(lines) + "\n"
    rest = {name: value for name, value in message.items() if name != "role"}
    text = json.dumps(rest, ensure_ascii=False, indent=2)
    return f"# {message['role']} json\n\n{text if _survives(text) else json.dumps(rest, indent=2)}\n"


def _survives(text: str) -> bool:
    """Whether a text file gives a text back: it makes line feeds of carriage returns, and holds no surrogates."""
    return "\r" not in text and utf8(text) == text


def _read_head(front: str) -> dict[str, str]:
    try:
        head = yaml.load(front, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes text, lists and dicts only
    except yaml.YAMLError as exc:
        msg = f"the front matter is not valid YAML: {exc}"
        raise ValueError(msg) from exc
    if not isinstance(head, dict) or not head.get("name") or not all(isinstance(value, str) for value in head.values()):
        msg = "the front matter holds at least 'name: ...', and nothing but 'field: text'"
        raise ValueError(msg)
    return head


def _read_messages(body: str, roles: Sequence[str]) -> list[dict[str, Any]]:
    blocks = _blocks(body, roles)
    if not blocks:
        msg = "no message found; begin each with a heading such as '# system' or '# user'"
        raise ValueError(msg)
    return [_message(role, lines, is_json=is_json) for role, is_json, lines in blocks]


def _blocks(body: str, roles: Sequence[str]) -> list[tuple[str, bool, list[str]]]:
    found: list[tuple[str, bool, list[str]]] = []
    for line in body.split("\n"):
        heading = _HEADING.match(line)
        if heading and heading[1] in roles:
            found.append((heading[1], bool(heading[2]), []))
        elif found:
            found[-1][2].append(line)
        elif line.strip():
            headings = ", ".join(f"# {role}" for role in roles)
            msg = f"{line!r} stands before the first message; the headings are {headings}"
            raise ValueError(msg)
    return found


def _message(role: str, lines: list[str], *, is_json: bool) -> dict[str, Any]:
    """Undo the escapes, and drop the one blank line below the heading and the one at the end."""
    lines = lines[1:] if lines and not lines[0] else lines
    lines = lines[:-1] if lines and not lines[-1] else lines
    content = "\n".join(line[1:] if _ESCAPED.match(line) else line for line in lines)
    if not is_json:
        return {"role": role, "content": content}
    try:
        return {**json.loads(content), "role": role}
    except (ValueError, TypeError, RecursionError) as exc:
        msg = f"what stands under '# {role} json' is not a JSON object: {exc}"
        raise ValueError(msg) from exc
