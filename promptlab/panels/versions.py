"""Two versions of a prompt side by side, and what the change did to the answers that both gave.

The difference itself is a value (`promptlab.promptdiffs`), so that the static snapshot says all of it; the panel adds
walking through versions, and the pairs of answers behind the effect, a page at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from promptlab import _text, effects, promptdiffs, versions
from promptlab.effects import Pair, Verdict
from promptlab.panels._panel import LIVE_HINT, Panel, operation
from promptlab.promptdiffs import VersionDiff
from promptlab.store import Store
from promptlab.textdiff import LinePair, Pieces
from promptlab.versions import Version

if TYPE_CHECKING:
    import pandas as pd

FIRST_CHARS = 60_000  # of both prompts; longer ones are asked for when the panel draws
_SNAPSHOT_CHARS = 190_000

Which = Literal["changed", "better", "worse", "same", "unknown", "all"]
Id = Annotated[int, Field(ge=1)]


class PromptDiff(Panel):
    """How two versions of a prompt differ; see `Lab.diff`.

    `result` is the difference as a value: messages, words, variables, parameters, `result.effect`. `frame()` has its
    lines as a DataFrame, `effect_frame()` the pairs of answers.
    """

    view = "versions"
    label = "Versions of a prompt"

    def __init__(self, store: Store, before: Version, after: Version, *, by: str | None = None) -> None:
        super().__init__()
        self._store = store
        self._by = by
        self.result = promptdiffs.compare(store, before, after, by=by)
        self._known: dict[tuple[int, int], VersionDiff] = {(before.id, after.id): self.result}

    def frame(self) -> pd.DataFrame:
        """Return one row a line of the messages: message, role, change, before, after."""
        return self.result.frame()

    def effect_frame(self) -> pd.DataFrame:
        """Return one row a pair of answers; see `promptlab.effects.Effect.frame`."""
        return _effect(self.result).frame()

    def first(self) -> dict[str, Any]:
        """Return the versions there are and the difference."""
        before, after = self.result.before, self.result.after
        chars = sum(len(str(version.messages)) for version in (before, after))
        return {
            "versions": [_version_json(version) for version in self._walkable()],
            "before": before.id,
            "after": after.id,
            "diff": _diff_json(self.result) if chars <= FIRST_CHARS else None,
        }

    @operation
    def diff(self, before: Id, after: Id) -> dict[str, Any]:
        """Return how two versions differ, by the ids that `first` lists."""
        return _diff_json(self._diff(before, after))

    @operation
    def pairs(
        self,
        before: Id,
        after: Id,
        which: Which,
        start: Annotated[int, Field(ge=0)],
        n: Annotated[int, Field(ge=1, le=200)],
    ) -> dict[str, Any]:
        """Return some pairs of answers with what was asked, and how many there are of their kind."""
        every = _effect(self._diff(before, after)).pairs
        chosen = [pair for pair in every if _is_wanted(pair, which)]
        page = chosen[start : start + n]
        shown = effects.examples(self._store, page, among=every)
        return {"count": len(chosen), "rows": [{**asdict(each), "verdict": each.pair.verdict} for each in shown]}

    def snapshot(self) -> str:
        """Return the difference as HTML, whole as far as it fits."""
        html = self.result._repr_html_()
        if len(html) > _SNAPSHOT_CHARS:
            title = f"{self.result.before.label} → {self.result.after.label}"
            html = _text.html_card(title, _text.html_list(self.result.facts()), note=self.result.summary())
        return f"{html}<div><small>{LIVE_HINT}</small></div>"

    def __repr__(self) -> str:
        return repr(self.result)

    def _walkable(self) -> list[Version]:
        """Return the versions of both names, those of the first one first."""
        names = dict.fromkeys(version.name for version in (self.result.before, self.result.after))
        return [version for name in names for version in versions.versions(self._store, name)]

    def _diff(self, before: int, after: int) -> VersionDiff:
        if (before, after) not in self._known:
            there = {version.id: version for version in self._walkable()}
            sides = [
                there.get(version_id) or versions.find_id(self._store, version_id) for version_id in (before, after)
            ]
            self._known[before, after] = promptdiffs.compare(self._store, *sides, by=self._by)
        return self._known[before, after]


def _effect(diff: VersionDiff) -> effects.Effect:
    return diff.effect or effects.Effect(())


def _is_wanted(pair: Pair, which: Which) -> bool:
    if which == "all":
        return True
    return pair.is_changed if which == "changed" else pair.verdict == which


def _version_json(version: Version) -> dict[str, Any]:
    return {
        "id": version.id,
        "label": version.label,
        "name": version.name,
        "number": version.number,
        "created_at": version.created_at,
        "runs": len(version.runs),
        "answers": version.answers,
        "parent": version.parent,
        "note": version.note,
        "variables": version.variables,
    }


def _diff_json(diff: VersionDiff) -> dict[str, Any]:
    added, removed = diff.words
    return {
        "before": diff.before.id,
        "after": diff.after.id,
        "summary": diff.summary(),
        "words": [added, removed],
        "tokens": diff.tokens,
        "messages": [
            {"role": message.role, "change": message.change, "lines": [_line_json(pair) for pair in message.lines]}
            for message in diff.messages
        ],
        "variables": {
            "kept": sorted({*diff.before.variables} & {*diff.after.variables}),
            "added": diff.variables_added,
            "removed": diff.variables_removed,
            "renamed": diff.variables_renamed,
        },
        "parameters": [
            {
                "name": each.name,
                "before": promptdiffs.said(each.before),
                "after": promptdiffs.said(each.after),
                "changed": each.is_changed,
            }
            for each in diff.parameters
        ],
        "effect": _effect_json(_effect(diff)),
        "code": f"lab.diff({diff.before.label!r}, {diff.after.label!r})",
    }


_VERDICTS: Sequence[Verdict] = ("better", "worse", "same", "unknown")


def _effect_json(effect: effects.Effect) -> dict[str, Any]:
    return {
        "shared": len(effect.pairs),
        "changed": effect.changed,
        **{verdict: effect.count(verdict) for verdict in _VERDICTS},
        "by": list(effect.by),
        "basis": effect.basis,
        "prompt_tokens": effect.prompt_tokens,
        "cost_usd": effect.cost_usd,
    }


def _line_json(pair: LinePair) -> list[Any]:
    """Return two lines, each a list of [kind, text, whether it is a slot], null where there is none."""
    return [_side_json(pair.before), _side_json(pair.after)]


def _side_json(side: Pieces | None) -> list[Any] | None:
    return None if side is None else [[piece.kind[0], piece.text, piece.is_slot] for piece in side]
