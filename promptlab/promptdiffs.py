"""How two versions of a prompt differ, and what that did to the answers.

`diff` is a pure function of two versions. `compare` finds them in the file and adds the effect: the trials that both
answered, for the same case, the same settings and the same repeat. Nothing here writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Literal

from promptlab import _text, textdiff
from promptlab._json import canonical
from promptlab.effects import Effect, effect
from promptlab.store import Store
from promptlab.templates import PromptTemplate, content_text, variables_of
from promptlab.textdiff import LinePair, Piece
from promptlab.versions import Version, find

if TYPE_CHECKING:
    import pandas as pd

Change = Literal["same", "changed", "removed", "added"]

_SLOTS = 200  # changed slots among which renamed variables are looked for; Jinja parses each of them
ALIKE = 0.2  # of two messages' likeness, half of it the role's, that is needed for them to stand beside each other


@dataclass(frozen=True, slots=True)
class MessageDiff:
    """Two messages beside each other, line by line; a role is None where one side has no such message."""

    before_role: str | None
    after_role: str | None
    lines: tuple[LinePair, ...]

    @property
    def change(self) -> Change:
        """`same`, `changed`, `removed` or `added`."""
        if self.before_role is None:
            return "added"
        if self.after_role is None:
            return "removed"
        is_same = self.before_role == self.after_role and not any(pair.is_changed for pair in self.lines)
        return "same" if is_same else "changed"

    @property
    def role(self) -> str:
        """The role, or both where it changed: `system → developer`."""
        roles = dict.fromkeys(role for role in (self.before_role, self.after_role) if role)
        return " → ".join(roles)


@dataclass(frozen=True, slots=True)
class ParameterDiff:
    """The values that the runs of either version gave a parameter; none where they left it out."""

    name: str
    before: tuple[Any, ...]
    after: tuple[Any, ...]

    @property
    def is_changed(self) -> bool:
        """Whether the two differ, in whatever order the values were tried."""
        return {canonical(value) for value in self.before} != {canonical(value) for value in self.after}


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """How two versions of a prompt differ, and what it did to the answers.

    Attributes
    ----------
    messages
        Side by side in order, those without a counterpart alone.
    parameters
        What the runs of either version set, sorted by name.
    effect
        What happened to the trials that both answered; None when that was not looked for.
    is_coarse
        Whether the prompts are so long that some of it is compared by whole lines, or blocks of lines.
    """

    before: Version
    after: Version
    messages: tuple[MessageDiff, ...]
    parameters: tuple[ParameterDiff, ...]
    effect: Effect | None = None
    is_coarse: bool = False

    @property
    def variables_removed(self) -> tuple[str, ...]:
        """The variables that only the first version has, without renamed ones."""
        gone = set(self.before.variables) - set(self.after.variables)
        return tuple(sorted(gone - {old for old, _ in self.variables_renamed}))

    @property
    def variables_added(self) -> tuple[str, ...]:
        """The variables that only the second version has, without renamed ones."""
        new = set(self.after.variables) - set(self.before.variables)
        return tuple(sorted(new - {name for _, name in self.variables_renamed}))

    @property
    def variables_renamed(self) -> tuple[tuple[str, str], ...]:
        """Pairs of an old and a new variable, where one slot stands in the place of another."""
        old = set(self.before.variables) - set(self.after.variables)
        new = set(self.after.variables) - set(self.before.variables)
        pairs = islice(self._replaced_slots(), _SLOTS) if old and new else ()
        return tuple(dict.fromkeys(pair for pair in pairs if pair[0] in old and pair[1] in new))

    @property
    def words(self) -> tuple[int, int]:
        """How many words and slots were added, and how many removed."""
        return self._words("added"), self._words("removed")

    @property
    def tokens(self) -> int:
        """About how many tokens longer the second is, before slots are filled: an estimate from the bytes."""
        return self.after.tokens - self.before.tokens

    def frame(self) -> pd.DataFrame:
        """Return one row a line of the messages: message, role, change, before, after."""
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        rows = [
            (place, message.role, _line_change(pair), _plain(pair.before), _plain(pair.after))
            for place, message in enumerate(self.messages)
            for pair in message.lines
        ]
        return pd.DataFrame(rows, columns=["message", "role", "change", "before", "after"])

    def facts(self) -> list[str]:
        """Return what changed besides the text, one line each: variables, parameters, the effect."""
        renamed = [f"{old} → {new}" for old, new in self.variables_renamed]
        variables = [*renamed, *(f"+ {name}" for name in self.variables_added)]
        variables += [f"− {name}" for name in self.variables_removed]
        found = [f"variables: {', '.join(variables)}"] if variables else []
        found += [
            f"{each.name}: {said(each.before)} → {said(each.after)}" for each in self.parameters if each.is_changed
        ]
        return found + ([self.effect.sentence()] if self.effect is not None else [])

    def summary(self) -> str:
        """Return how much changed, in one line."""
        changes = [message.change for message in self.messages]
        if self.before.key == self.after.key:
            return "the same messages"
        by_kind = [f"{changes.count(kind)} {kind}" for kind in ("changed", "added", "removed") if kind in changes]
        added, removed = self.words
        coarse = "; so long that parts are compared as whole lines" if self.is_coarse else ""
        return (
            f"{', '.join(by_kind) or 'no'} of {_text.count(len(changes), 'message')}, +{added:,} −{removed:,} words,"
            f" about {self.tokens:+,} tokens{coarse}"
        ).replace("-", "−")

    def __repr__(self) -> str:
        lines = [line for message in self.messages for line in _text_lines(message)]
        head = f"<VersionDiff {self.before.label} → {self.after.label}: {self.summary()}>"
        return "\n".join([head, *lines, *(_text.visible(fact) for fact in self.facts())])

    def _repr_html_(self) -> str:
        rows = "".join(_html_message(message) for message in self.messages)
        heads = ("", self.before.label, self.after.label)
        head = "".join(f'<th style="{_CELL}">{_text.escaped(name)}</th>' for name in heads)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        facts = _text.html_list(self.facts()) if self.facts() else ""
        examples = self.effect.html_examples() if self.effect is not None else ""
        title = f"{self.before.label} → {self.after.label}"
        return _text.html_card(title, table + facts + examples, note=self.summary())

    def _words(self, kind: Literal["added", "removed"]) -> int:
        sides = [pair.after if kind == "added" else pair.before for each in self.messages for pair in each.lines]
        return sum(textdiff.count_words([piece for piece in side or () if piece.kind == kind]) for side in sides)

    def _replaced_slots(self) -> Iterator[tuple[str, str]]:
        """Yield the variables of slots that stand in the same order in two changed lines."""
        for message in self.messages:
            for pair in message.lines:
                sides = [
                    [_variable(piece.text) for piece in side or () if piece.is_slot and piece.kind != "same"]
                    for side in (pair.before, pair.after)
                ]
                yield from ((old, new) for old, new in zip(*sides, strict=False) if old and new)


def compare(
    store: Store,
    before: str | PromptTemplate | Version,
    after: str | PromptTemplate | Version,
    *,
    by: str | None = None,
) -> VersionDiff:
    """Return how two versions in the file differ, with the effect on the trials that both answered; see `effect`."""
    old, new = find(store, before), find(store, after)
    run_ids = {run.id for version in (old, new) for run in version.runs}
    found = effect(store, old.id, new.id, run_ids=run_ids, by=by)
    return replace(diff(old, new), effect=found)


def diff(before: Version, after: Version) -> VersionDiff:
    """Return how two versions differ: messages aligned by role and likeness, then lines, then words."""
    budget = textdiff.Budget()

    def weigh(here: int, there: int, likeness: float) -> float:
        """Return how alike two messages are: half for the role, half for the words."""
        return (0.5 if before.messages[here]["role"] == after.messages[there]["role"] else 0.0) + 0.5 * likeness

    old, new = ([content_text(message) for message in version.messages] for version in (before, after))
    places = textdiff.beside(old, new, budget, least=ALIKE, weigh=weigh)
    messages = tuple(
        _message_diff(
            None if here is None else before.messages[here], None if there is None else after.messages[there], budget
        )
        for here, there in places
    )
    return VersionDiff(
        before=before,
        after=after,
        messages=messages,
        parameters=tuple(
            ParameterDiff(name, before.parameters.get(name, ()), after.parameters.get(name, ()))
            for name in sorted({*before.parameters, *after.parameters})
        ),
        is_coarse=budget.is_spent,
    )


def _message_diff(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, budget: textdiff.Budget
) -> MessageDiff:
    if before is None and after is not None:
        return MessageDiff(None, str(after["role"]), textdiff.alone(content_text(after), "added"))
    if after is None and before is not None:
        return MessageDiff(str(before["role"]), None, textdiff.alone(content_text(before), "removed"))
    assert before is not None  # noqa: S101 - one of the two always is
    assert after is not None  # noqa: S101 - see above
    lines = textdiff.lines(content_text(before), content_text(after), budget)
    return MessageDiff(str(before["role"]), str(after["role"]), lines)


def _variable(slot: str) -> str | None:
    """Return the one variable that a slot reads, None for what reads none or several."""
    names = variables_of([{"role": "user", "content": slot}])
    return names[0] if len(names) == 1 else None


def _line_change(pair: LinePair) -> Change:
    if pair.before is None:
        return "added"
    if pair.after is None:
        return "removed"
    return "changed" if pair.is_changed else "same"


def _plain(side: Sequence[Piece] | None) -> str | None:
    return None if side is None else "".join(piece.text for piece in side)


def said(values: Sequence[Any]) -> str:
    """Return the values of a parameter in words."""
    return ", ".join(_text.brief(value, 40) for value in values) or "not set"


# As text: [-removed-] and {+added+}, as git writes it

_SHORT = 3  # lines of an unchanged message that HTML still shows
_SAME_SHOWN = 1  # unchanged lines beside a change; more are counted


def _text_lines(message: MessageDiff) -> list[str]:
    if message.change == "same":
        return [f"{message.role}: the same"]
    shown = [
        f"  … {_text.count(pair, 'line')} the same" if isinstance(pair, int) else f"  {_marked(pair)}"
        for pair in _with_gaps(message.lines)
    ]
    word = "" if message.change == "changed" else f" ({message.change})"
    return [f"{message.role}{word}:", *(line.rstrip() for line in shown)]


def _with_gaps(lines: Sequence[LinePair]) -> Iterator[LinePair | int]:
    """Yield the lines near a change, and for the others how many there are."""
    changed = [place for place, pair in enumerate(lines) if pair.is_changed]
    near = {place + step for place in changed for step in range(-_SAME_SHOWN, _SAME_SHOWN + 1)}
    gap = 0
    for place, pair in enumerate(lines):
        if place in near or not changed:
            if gap:
                yield gap
            gap = 0
            yield pair
        else:
            gap += 1
    if gap:
        yield gap


def _marked(pair: LinePair) -> str:
    runs = groupby(_both(pair), key=lambda piece: piece.kind)
    return "".join(_MARKS[kind].format(_text.visible("".join(piece.text for piece in run))) for kind, run in runs)


_MARKS = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}


def _both(pair: LinePair) -> list[Piece]:
    """Return the pieces of two lines as one line: what was removed before what was added."""
    before, after = deque(pair.before or ()), deque(pair.after or ())
    found: list[Piece] = []
    while before or after:
        if before and before[0].kind == "removed":
            found.append(before.popleft())
        elif after and after[0].kind == "added":
            found.append(after.popleft())
        else:
            found.append((before or after)[0])
            for side in (before, after):
                if side:
                    side.popleft()
    return found


# As HTML: a table that says everything without a style sheet

_CELL = "text-align:left;vertical-align:top;padding:2px 10px"
_TEXT_CELL = f"{_CELL};white-space:pre-wrap;font-family:var(--jp-code-font-family,monospace)"
_QUIET = "opacity:.65"


def _html_message(message: MessageDiff) -> str:
    rows = []
    is_folded = message.change == "same" and len(message.lines) > _SHORT
    shown: Iterable[LinePair | int] = [len(message.lines)] if is_folded else _with_gaps(message.lines)
    for place, pair in enumerate(shown):
        role = f'<td style="{_CELL};{_QUIET}">{_text.escaped(message.role) if place == 0 else ""}</td>'
        if isinstance(pair, int):
            same = f"… {_text.count(pair, 'line')} the same"
            rows.append(f'<tr>{role}<td style="{_CELL};{_QUIET}" colspan="2">{same}</td></tr>')
        else:
            sides = "".join(f'<td style="{_TEXT_CELL}">{_html_side(side)}</td>' for side in (pair.before, pair.after))
            rows.append(f"<tr>{role}{sides}</tr>")
    return "".join(rows)


def _html_side(side: Sequence[Piece] | None) -> str:
    return "".join(_HTML_MARKS[piece.kind].format(_html_piece(piece)) for piece in side or ())


def _html_piece(piece: Piece) -> str:
    text = _text.escaped(piece.text)
    return f"<code>{text}</code>" if piece.is_slot else text


_HTML_MARKS = {"same": "{}", "removed": "<del>{}</del>", "added": "<ins>{}</ins>"}
