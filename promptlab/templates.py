"""Prompt templates: ordered messages with Jinja2 slots, and a name.

A template is a value: it never changes, and its key is the hash of its messages alone, so the same words under another
name are the same version. Slots are rendered in Jinja2's sandbox with strict undefined values; what stands in a case is
put in as text and never rendered itself. A slot that would print None, or what is no text, number, list or dict, is an
error. Rendering is repeatable: the same case gives the same text, so nothing random is on offer.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from promptlab import _markdown, _text
from promptlab._json import canonical, digest, plain, utf8
from promptlab.errors import PromptlabWarning, TemplateError

ROLES = ("system", "developer", "user", "assistant", "tool")

#: A message as a user may write it: a (role, text) pair, or the API's own dict.
Message = tuple[str, Any] | Mapping[str, Any]

_TEXT = "text"  # the one "role" of a plain-text template
_MAX_RENDERED_CHARS = 10_000_000  # far above any context window; a template that loops away ends here
_UNRENDERED = {"role", "type"}  # fields of a message that the API reads, never a model


class TemplateWarning(PromptlabWarning):
    """The messages of a template are in an order that models seldom expect."""


class PromptTemplate:
    """Ordered messages with Jinja2 slots, under a name.

    Give `system=` and `user=`, or `messages=` as (role, text) pairs or the API's own dicts (text, or content parts such
    as image URLs), or `text=` for the text completions endpoint, by which base models are still prompted.

    Parameters
    ----------
    name
        What the template is called in tables and plots. Its versions are numbered under this name.
    note
        A remark kept with the template; it is not part of the key.
    parent
        The key of the template this one was derived from; `replace` sets it.

    Raises
    ------
    TemplateError
        Listing every problem: no messages, an unknown role, a slot that is not valid Jinja2.

    >>> terse = PromptTemplate("terse", system="Answer with one word.", user="{{ question }}")
    >>> terse.variables
    ('question',)
    >>> terse.render({"question": "Capital of France?"})
    [{'role': 'system', 'content': 'Answer with one word.'}, {'role': 'user', 'content': 'Capital of France?'}]
    """

    def __init__(
        self,
        name: str,
        *,
        system: str | None = None,
        user: str | None = None,
        messages: Iterable[Message] | None = None,
        text: str | None = None,
        note: str = "",
        parent: str | None = None,
    ) -> None:
        self.name = _checked_name(name)
        self.note = note
        self.parent = parent
        self._messages = _collected(name, system=system, user=user, messages=messages, text=text)
        self._slots = _Slots(name, self._messages)
        for warning in self.warnings:
            warnings.warn(f"template {name!r}: {warning}", TemplateWarning, stacklevel=2)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages as the API takes them, slots unrendered. A plain-text template has one, of role `text`."""
        return copy.deepcopy(self._messages)

    @property
    def is_text(self) -> bool:
        """Whether this is a plain text for the completions endpoint."""
        return bool(self._messages[0]["role"] == _TEXT)

    @cached_property
    def key(self) -> str:
        """The version: sha256 of the messages, whatever the template is called."""
        return digest(self._messages)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that slots read, sorted."""
        return self._slots.variables

    @property
    def required(self) -> tuple[str, ...]:
        """The variables a case must have: all but those with `| default(...)` or an `is defined` test."""
        return self._slots.required

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the order of the messages, one sentence each."""
        return tuple(_order_warnings([message["role"] for message in self._messages]))

    def missing(self, columns: Iterable[str]) -> list[str]:
        """Return one sentence for each required variable that is not among the columns, with the nearest column."""
        known = [str(column) for column in columns]
        return [self._missing_sentence(name, known) for name in self.required if name not in known]

    def render(self, case: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the messages with every slot filled from the case.

        Raises
        ------
        TemplateError
            Naming every missing variable, each with the nearest column; or what Jinja2 reported.
        """
        if problems := self.missing(case):
            raise TemplateError(problems)
        try:
            values = plain(case)
        except TypeError as exc:
            msg = f"template {self.name!r}: {exc}"
            raise TemplateError(msg) from exc
        return self.fill(values)

    def fill(self, case: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Render plain values without looking for missing variables first: for plans, which check once."""
        return self._slots.render(case)

    def replace(
        self,
        name: str | None = None,
        *,
        system: str | None = None,
        user: str | None = None,
        messages: Iterable[Message] | None = None,
        text: str | None = None,
        note: str | None = None,
    ) -> PromptTemplate:
        """Derive a variant that remembers this template as its parent.

        `system` replaces the first system or developer message (or is put first), `user` the last user message (or is
        put last); `messages` or `text` replace them all.

        >>> terse = PromptTemplate("terse", system="Answer with one word.", user="{{ question }}")
        >>> terse.replace("curt", system="One word!").messages[0]["content"]
        'One word!'
        """
        edits = system is not None or user is not None
        if edits and (self.is_text or messages is not None or text is not None):
            msg = "replace() takes system= and user= for messages, or messages=, or text=; one of the three"
            raise TemplateError(msg)
        if messages is None and text is None:
            text = self._messages[0]["content"] if self.is_text else None
            messages = None if self.is_text else _edited(self.messages, system=system, user=user)
        note = self.note if note is None else note
        return PromptTemplate(name or self.name, messages=messages, text=text, note=note, parent=self.key)

    def diff(self, other: PromptTemplate) -> str:
        """Return how `other` differs from this template, as a unified diff of their messages; empty when equal."""
        before, after = (_markdown.write_messages(side.messages).split("\n") for side in (self, other))
        return "\n".join(difflib.unified_diff(before, after, self.name, other.name, lineterm=""))

    def save(self, path: str | Path) -> Path:
        """Write the template as a Markdown file with front matter, one heading a message, and return its path."""
        head = {"name": self.name, "note": self.note, "parent": self.parent or ""}
        target = Path(path)
        try:
            target.write_text(_markdown.write(head, self._messages), encoding="utf-8", newline="\n")
        except OSError as exc:
            msg = f"{target} cannot be written: {exc.strerror}"
            raise TemplateError(msg) from exc
        return target

    @classmethod
    def load(cls, path: str | Path) -> PromptTemplate:
        """Read a template that `save` wrote, or that a person wrote in the same form.

        The file has front matter with `name:`, then a level-one heading with a role for each message::

            ---
            name: terse
            ---

            # system

            Answer with one word.

            # user

            {{ question }}

        A message whose content is a list of parts stands as JSON under `# user json`. A line of a prompt that itself
        looks like such a heading is written with a backslash before it.
        """
        try:
            head, messages = _markdown.read(Path(path).read_text(encoding="utf-8-sig"), roles=(*ROLES, _TEXT))
        except (OSError, ValueError) as exc:
            msg = f"{path} cannot be read: {exc}"
            raise TemplateError(msg) from exc
        is_text = [message["role"] for message in messages] == [_TEXT]
        return cls(
            head["name"],
            messages=None if is_text else messages,
            text=messages[0]["content"] if is_text else None,
            note=head.get("note", ""),
            parent=head.get("parent"),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptTemplate) and (self.name, self.key) == (other.name, other.key)

    def __hash__(self) -> int:
        return hash((self.name, self.key))

    def __repr__(self) -> str:
        roles = ", ".join(message["role"] for message in self._messages)
        variables = ", ".join(self.variables) or "none"
        return f"<PromptTemplate {self.name!r} {self.key[:8]}: {roles}; variables {variables}>"

    def _repr_html_(self) -> str:
        rows = [(message["role"], content_text(message)) for message in self._messages]
        return _text.html_card(f"{self.name} · {self.key[:8]}", _text.html_messages(rows), note=self.note)

    def _missing_sentence(self, name: str, columns: Sequence[str]) -> str:
        near = _text.nearest(name, columns)
        hint = f"did you mean the column {near!r}?" if near else f"the columns are {', '.join(columns) or 'none'}"
        return f"template {self.name!r} needs {{{{ {name} }}}}, which the cases do not have; {hint}"


def variables_of(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names that the slots of stored messages read, sorted; none where they are no valid slots.

    >>> variables_of([{"role": "user", "content": "{{ question }} in {{ lang }}"}])
    ('lang', 'question')
    """
    try:
        return _Slots("stored", messages).variables
    except TemplateError:  # of a file that others wrote
        return ()


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, in which no product or power can be made longer than a prompt may be."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        is_power = operator == "**"
        if (_power_bits(left, right) if is_power else _product_length(left, right)) > _MAX_RENDERED_CHARS:
            msg = f"{operator} would make a value longer than {_MAX_RENDERED_CHARS:,} characters"
            raise jinja2.exceptions.SecurityError(msg)
        return super().call_binop(context, operator, left, right)


def _product_length(left: Any, right: Any) -> int:
    """How long a repeated text, list or tuple gets; 0 for a product of numbers."""
    for repeated, times in ((left, right), (right, left)):
        if isinstance(repeated, str | list | tuple) and isinstance(times, int):
            return len(repeated) * times
    return 0


def _power_bits(left: Any, right: Any) -> int:
    return left.bit_length() * right if isinstance(left, int) and isinstance(right, int) else 0


class _Nothing:
    """Stands for None while a template renders: false and equal to None, but never printed by a filter or operator."""

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return _is_none(other)

    __hash__ = None  # type: ignore[assignment]  # never a key

    def __repr__(self) -> str:
        raise TemplateError(_NONE_PRINTED)


_NONE_PRINTED = "a slot would print None; fill the case's value, or test it with {% if ... %}"
_NOTHING = _Nothing()


def _is_none(value: object) -> bool:
    return value is None or value is _NOTHING


def _guarded(value: Any) -> Any:
    """Return a case's value with `_NOTHING` for every None in it."""
    if isinstance(value, Mapping):
        return {name: _guarded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_guarded(item) for item in value]
    return _NOTHING if value is None else value


def _printed(value: Any) -> Any:
    """Let through what belongs into a prompt; Jinja2 would print anything, as `None` or `<generator object ...>`."""
    if value is None:
        raise TemplateError(_NONE_PRINTED)
    if isinstance(value, str | int | float | list | tuple | dict | _Nothing | jinja2.Undefined):  # the last two raise
        return value
    msg = f"a slot would print a {type(value).__name__}; call it, or make a text of it with | list or | join(', ')"
    raise TemplateError(msg)


def _to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON as a prompt wants it; Jinja2's own filter is for HTML: it sorts keys and writes quotes as codes."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_null)


def _null(value: object) -> None:
    if not _is_none(value):
        msg = f"a {type(value).__name__} is not JSON; make a list or a text of it first"
        raise TemplateError(msg)


def _environment() -> _Sandbox:
    """Return the one environment of all templates, without what would give another text each time."""
    made = _Sandbox(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_printed)
    made.filters["tojson"] = _to_json
    made.tests["none"] = _is_none
    del made.filters["random"], made.globals["lipsum"]
    return made


_ENVIRONMENT = _environment()


class _Slots:
    """The compiled slots of a template: every text of every message, in order."""

    def __init__(self, name: str, messages: Sequence[Mapping[str, Any]]) -> None:
        self._name = name
        self._messages = messages
        sources = {text for message in messages for text in _texts(message)}
        self._compiled = {source: self._compile(source) for source in sources if _has_slot(source)}
        trees = [_ENVIRONMENT.parse(source) for source in self._compiled]
        names: set[str] = set().union(*(jinja2.meta.find_undeclared_variables(tree) for tree in trees))
        optional: set[str] = set().union(*(_optional(tree) for tree in trees))
        self.variables = tuple(sorted(names))
        self.required = tuple(sorted(names - optional))

    def render(self, case: Mapping[str, Any]) -> list[dict[str, Any]]:
        values = _guarded(case)
        return [self._rendered(message, values) for message in self._messages]

    def _compile(self, source: str) -> jinja2.Template:
        try:
            return _ENVIRONMENT.from_string(source)
        except (jinja2.TemplateSyntaxError, SyntaxError, RecursionError) as exc:  # the last two: nested too deeply
            line, hint = getattr(exc, "lineno", None) or 1, "write {% raw %} for literal braces"
            msg = f"template {self._name!r}, line {line} of {_text.brief(source)}: {exc}; {hint}"
            raise TemplateError(msg) from exc

    def _rendered(self, value: Any, case: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            return self._filled(value, case)
        if isinstance(value, list):
            return [self._rendered(item, case) for item in value]
        if isinstance(value, Mapping):
            return {k: v if k in _UNRENDERED else self._rendered(v, case) for k, v in value.items()}
        return value

    def _filled(self, source: str, case: Mapping[str, Any]) -> str:
        template = self._compiled.get(source)
        if template is None:
            return source
        try:
            return "".join(_bounded(template.generate(case)))
        except Exception as exc:  # a template is a program: it can fail in any way
            kind = "" if isinstance(exc, jinja2.TemplateError | TemplateError) else f"{type(exc).__name__}: "
            empty = [name for name in self.variables if case.get(name) is _NOTHING]
            hint = f" (None in this case: {', '.join(empty)})" if empty else ""
            msg = f"template {self._name!r} cannot render {_text.brief(source)}: {kind}{exc}{hint}"
            raise TemplateError(msg) from exc


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    """Yield pieces of text until they are too many, before they fill the memory."""
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > _MAX_RENDERED_CHARS:
            msg = f"the text is longer than {_MAX_RENDERED_CHARS:,} characters"
            raise TemplateError(msg)
        yield piece


def _has_slot(source: str) -> bool:
    return any(mark in source for mark in ("{{", "{%", "{#"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _UNRENDERED:
                yield from _texts(item)


def _optional(tree: jinja2.nodes.Template) -> set[str]:
    guards = [node for node in tree.find_all(jinja2.nodes.Filter) if node.name in {"default", "d"}]
    tests = [node for node in tree.find_all(jinja2.nodes.Test) if node.name in {"defined", "undefined"}]
    return {node.node.name for node in [*guards, *tests] if isinstance(node.node, jinja2.nodes.Name)}


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or len(name.splitlines()) > 1 or utf8(name) != name:
        example = "PromptTemplate('terse', user='{{ question }}')"
        msg = f"a template needs a name on one line, not {name!r}; e.g. {example}"
        raise TemplateError(msg)
    return name


def _collected(
    name: str, *, system: str | None, user: str | None, messages: Iterable[Message] | None, text: str | None
) -> list[dict[str, Any]]:
    shorthand = [("system", system), ("user", user)]
    given = [(role, content) for role, content in shorthand if content is not None]
    ways = [bool(given), messages is not None, text is not None]
    if sum(ways) != 1:
        msg = f"template {name!r}: give system= and user=, or messages=, or text=; exactly one of the three"
        raise TemplateError(msg)
    if text is not None:
        if not isinstance(text, str):
            msg = f"template {name!r}: text={_text.brief(text)} is not text; messages go into messages=[('user', ...)]"
            raise TemplateError(msg)
        return [{"role": _TEXT, "content": text}]
    found = [_as_dict(message) for message in (given or messages or ())]
    if problems := list(_message_problems(name, found)):
        raise TemplateError(problems)
    return found


def _as_dict(message: Message) -> dict[str, Any]:
    if isinstance(message, Mapping):
        return copy.deepcopy(dict(message))
    if isinstance(message, tuple | list) and len(message) == 2:  # noqa: PLR2004 - a (role, content) pair
        return {"role": message[0], "content": copy.deepcopy(message[1])}
    msg = f"{_text.brief(message)} is not a message; write ('user', 'text') or {{'role': 'user', 'content': 'text'}}"
    raise TemplateError(msg)


def _message_problems(name: str, messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not messages:
        yield f"template {name!r} has no messages; give at least one, e.g. ('user', '{{{{ question }}}}')"
    for place, message in enumerate(messages):
        where, role = f"template {name!r}, message {place}", message.get("role")
        if role not in ROLES:
            near = _text.nearest(str(role), ROLES)
            hint = f"did you mean {near!r}?" if near else f"the roles are {', '.join(ROLES)}"
            yield f"{where}: unknown role {role!r}; {hint}"
        if not _is_content(message.get("content")) and not message.get("tool_calls"):
            shown = _text.brief(message.get("content"))
            yield f"{where}: content {shown} is neither text nor a list of parts; write 'text' or [{{'type': ...}}]"
        try:
            canonical(message)
        except (TypeError, ValueError, RecursionError) as exc:
            yield f"{where} cannot be sent as JSON: {exc}"


def _is_content(content: Any) -> bool:
    if isinstance(content, list):
        return bool(content) and all(isinstance(part, Mapping) and "type" in part for part in content)
    return isinstance(content, str)


def _order_warnings(roles: Sequence[str]) -> Iterator[str]:
    late = [place for place, role in enumerate(roles) if role in {"system", "developer"} and place > 0]
    if late:
        yield f"message {late[0]} is a {roles[late[0]]} message but not the first; many models expect it first"
    spoken = [role for role in roles if role not in {"system", "developer"}]
    doubled = [role for role, following in itertools.pairwise(spoken) if role == following != "tool"]
    if doubled:
        yield f"two {doubled[0]} messages follow each other; many models expect user and assistant to alternate"


def _edited(messages: list[dict[str, Any]], *, system: str | None, user: str | None) -> list[dict[str, Any]]:
    if system is not None:
        leading = [message for message in messages if message["role"] in {"system", "developer"}]
        if leading:
            leading[0]["content"] = system
        else:
            messages.insert(0, {"role": "system", "content": system})
    if user is not None:
        asking = [message for message in messages if message["role"] == "user"]
        if asking:
            asking[-1]["content"] = user
        else:
            messages.append({"role": "user", "content": user})
    return messages


def content_text(message: Mapping[str, Any]) -> str:
    """Return what a message says: its text, or as JSON whatever else it holds."""
    rest = {name: value for name, value in message.items() if name != "role"}
    if list(rest) == ["content"] and isinstance(rest["content"], str):
        return str(rest["content"])
    return json.dumps(rest, ensure_ascii=False, indent=2)
