"""Plans: the ordered trials of templates x settings x cases x repeats. A plan sends nothing.

Trials are numbered in plan order: template, then setting, then case, then repeat, the last varying fastest. They are
made when they are asked for, so a plan of 100,000 trials holds no more than its templates, cells and cases. They are
sent in another order (`sending_order`): in blocks of cases across all settings, so that a run stopped early is
balanced, and within a block prompt by prompt, so that a provider's prompt cache can help.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, overload

from promptlab import _text, requests
from promptlab._json import canonical, compact, digest, indented
from promptlab.cases import Case, Cases
from promptlab.errors import PlanError, TemplateError
from promptlab.grids import CHAT_ONLY, TEXT_ONLY, Cell, ParameterGrid
from promptlab.requests import Endpoint, Prompt, Request, Settings
from promptlab.templates import PromptTemplate

CASES_IN_BLOCK = 8  # enough for a prompt cache to warm up, few enough for balance

#: Models known to refuse sampling parameters while they reason (OpenAI's deployment checklist, read 2026-11-23).
REASONING_MODELS = re.compile(r"(?:.*/)?(?:o\d|gpt-[5-9])(?![^-.]).*")
SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")

_PREVIEW_CHARS = 2_000
_KEPT_CHARS = 16_000_000  # of prompts at hand, 16 to 64 MB: a plan of 100,000 trials has a few thousand


@dataclass(frozen=True, slots=True)
class Trial:
    """One line of a plan, and the row of every result."""

    position: int
    template: PromptTemplate
    cell: Cell
    case_index: int
    case: Case
    repeat: int
    request: Request

    def __repr__(self) -> str:
        cell = ", ".join(f"{name}={value!r}" for name, value in self.cell.items())
        return f"<Trial {self.position}: {self.template.name}, {cell}, case {self.case_index}, repeat {self.repeat}>"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will take. None is unknown; every figure but the first two is an estimate.

    `completion_is_bound` says that the completion tokens are the most that `max_tokens` allows, since the file holds no
    answers of these models to go by.
    """

    to_send: int
    answered: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_is_bound: bool = False
    cost_usd: float | None = None
    time_s: float | None = None


class _Prompts:
    """The prompts of a plan that were made last, so that its settings share them; forgotten when they are too long."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, str], Prompt] = {}
        self._chars = 0

    def get(self, place: tuple[int, int, str], make: Callable[[int, int, str], Prompt]) -> Prompt:
        """Return the prompt at a place, made if need be."""
        found = self._made.get(place)
        if found is None:
            found = make(*place)
            self._chars += len(found.sent) + len(found.keyed) + len(found.text)
            if self._chars > _KEPT_CHARS:
                self._made, self._chars = {}, 0
            self._made[place] = found
        return found


@dataclass(frozen=True)
class Plan:
    """The ordered trials of templates x settings x cases x repeats, with what they will take.

    Make one with `lab.plan(...)`; a plan that could not be sent is refused there. `len`, iteration and indexing give
    trials in plan order.
    """

    templates: tuple[PromptTemplate, ...]
    grid: ParameterGrid
    cases: Cases
    repeats: int
    generation: int
    identity: str
    estimate: Estimate | None = None
    learned: tuple[str, ...] = ()
    explainer: Callable[[Trial], str] | None = field(default=None, repr=False, compare=False)
    _prompts: _Prompts = field(default_factory=_Prompts, repr=False, compare=False)

    @cached_property
    def key(self) -> str:
        """The hash of everything that makes the trials: equal plans have equal keys."""
        return digest(
            {
                "templates": [[template.name, template.key] for template in self.templates],
                "cells": [[cell.params, _exact(cell.variables)] for cell in self.grid],
                "cases": [_exact(case) for case in self.cases],
                "repeats": self.repeats,
                "generation": self.generation,
                "backend": self.identity,
            }
        )

    @cached_property
    def measured(self) -> tuple[list[str], list[int]]:
        """The sample key and the prompt's bytes of each template x setting x case; position // repeats finds them."""
        places = len(self) // self.repeats
        keys, sizes = [""] * places, [0] * places
        cells, cases = range(len(self.grid)), range(len(self.cases))
        for template, case, cell in itertools.product(range(len(self.templates)), cases, cells):  # prompt by prompt
            request = self._request(template, cell, case)
            place = (template * len(cells) + cell) * len(cases) + case
            keys[place], sizes[place] = request.sample_key, len(request.text.encode(errors="replace"))
        return keys, sizes

    @property
    def default_name(self) -> str:
        """What a run of this plan is called when the user names it nothing."""
        names = " or ".join(dict.fromkeys(template.name for template in self.templates))
        return names if len(names) <= 60 else f"{names[:59]}…"  # noqa: PLR2004 - a table's worth

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is valid but seldom meant, one sentence each."""
        return tuple(_warnings(self))

    def request(self, position: int) -> Request:
        """Return the request of the trial at a position."""
        template, cell, case, _ = self.place(position)
        return self._request(template, cell, case)

    def place(self, position: int) -> tuple[int, int, int, int]:
        """Return the places of template, cell, case and repeat of the trial at a position."""
        rest, repeat = divmod(position, self.repeats)
        rest, case = divmod(rest, len(self.cases))
        template, cell = divmod(rest, len(self.grid))
        return template, cell, case, repeat

    def sending_order(self) -> Iterator[int]:
        """Yield every position once, in the order in which trials are sent."""
        places = range(len(self.cases))
        for block in (places[start : start + CASES_IN_BLOCK] for start in places[::CASES_IN_BLOCK]):
            for template in range(len(self.templates)):
                for case in block:
                    for cell in range(len(self.grid)):
                        first = ((template * len(self.grid) + cell) * len(self.cases) + case) * self.repeats
                        yield from range(first, first + self.repeats)

    def preview(self, n: int = 3) -> Preview:
        """Return the first n different requests as they would be sent: rendered messages and exact bodies."""
        found: dict[str, Trial] = {}
        for position in range(0, len(self), self.repeats):
            if len(found) >= n:
                break
            found.setdefault(self.request(position).key, self[position])
        return Preview(tuple(found.values()))

    def explain(self, trial: int | Trial) -> str:
        """Say whether a trial is answered in the file, and if not, how it differs from the nearest stored request."""
        if self.explainer is None:
            msg = "this plan was made without a file; use lab.plan(...)"
            raise PlanError(msg)
        return self.explainer(trial if isinstance(trial, Trial) else self[trial])

    def __len__(self) -> int:
        return len(self.templates) * len(self.grid) * len(self.cases) * self.repeats

    @overload
    def __getitem__(self, position: int) -> Trial: ...
    @overload
    def __getitem__(self, position: slice) -> list[Trial]: ...
    def __getitem__(self, position: int | slice) -> Trial | list[Trial]:
        if isinstance(position, slice):
            return [self[at] for at in range(len(self))[position]]
        at = range(len(self))[position]
        template, cell, case, repeat = self.place(at)
        request = self._request(template, cell, case)
        return Trial(at, self.templates[template], self.grid[cell], case, self.cases[case], repeat, request)

    def __iter__(self) -> Iterator[Trial]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        lines = [f"<Plan {self._size()}>", _text.text_table(self._facts())]
        return "\n".join([*lines, *(f"! {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        body = _text.html_table(self._facts()) + (_text.html_list(self.warnings) if self.warnings else "")
        return _text.html_card(f"Plan · {self._size()}", body)

    def _size(self) -> str:
        sizes = {
            "template": len(self.templates),
            "setting": len(self.grid),
            "case": len(self.cases),
            **({"repeat": self.repeats} if self.repeats > 1 else {}),
        }
        return f"{_text.count(len(self), 'trial')}: " + " x ".join(_text.count(n, noun) for noun, n in sizes.items())

    def _facts(self) -> list[tuple[str, str]]:
        varying = ", ".join(f"{name} x {len(_distinct(self.grid, name))}" for name in self.grid.varying)
        names = ", ".join(template.name for template in self.templates)
        facts = [("templates", names), ("varying", varying or "nothing in the grid")]
        return facts + (_estimate_facts(self.estimate) if self.estimate else [])

    def _request(self, template: int, cell: int, case: int) -> Request:
        """Return the request at the places of template, cell and case."""
        prompt = self._prompt(template, case, self._variables[cell])
        return requests.joined(prompt, self._settings(cell, prompt.endpoint))

    def _prompt(self, template: int, case: int, variables: str) -> Prompt:
        return self._prompts.get((template, case, variables), self._rendered)

    def _rendered(self, template: int, case: int, variables: str) -> Prompt:
        return requests.prompt(self.templates[template].fill({**self.cases[case], **json.loads(variables)}))

    @cached_property
    def _variables(self) -> list[str]:
        """The template variables that each cell sets, as JSON."""
        return [compact(cell.variables) for cell in self.grid]

    @cached_property
    def _settings(self) -> Callable[[int, Endpoint], Settings]:
        """The JSON around a prompt, by the place of a cell."""

        @cache
        def settings(cell: int, endpoint: Endpoint) -> Settings:
            return requests.settings(self.grid[cell].params, endpoint, identity=self.identity)

        return settings


@dataclass(frozen=True)
class Preview:
    """Some requests as they would be sent."""

    trials: tuple[Trial, ...]

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, place: int) -> Request:
        return self.trials[place].request

    def __repr__(self) -> str:
        shown = [(repr(trial), f"POST /{trial.request.endpoint}", _pretty(trial.request.body)) for trial in self.trials]
        return "\n\n".join(map("\n".join, shown))

    def _repr_html_(self) -> str:
        return "".join(_preview_card(trial) for trial in self.trials)


def check_types(templates: object, grid: object) -> None:
    """Refuse what is no template and no grid, before it is taken apart."""
    found = list(templates) if isinstance(templates, list | tuple) else [templates]
    problems = [
        f"{template!r} is no template; write PromptTemplate('name', user=...)"
        for template in found
        if isinstance(template, str) or template is None
    ]
    if grid is None:
        problems.append("there is no grid; give ParameterGrid(model=..., temperature=[0, 0.7]), or a mapping")
    if problems:
        raise PlanError(problems)


def validated(
    templates: Sequence[PromptTemplate],
    grid: ParameterGrid,
    cases: Cases,
    *,
    repeats: int,
    generation: int,
    identity: str,
    models: Sequence[str] = (),
) -> Plan:
    """Return the plan, or raise `PlanError` with everything that would be wrong in it.

    `models` are the only ones that the backend answers for, where that is known beforehand.
    """
    plan = Plan(tuple(templates), grid, cases, repeats, generation, identity)
    if problems := [*_problems(plan), *_model_problems(plan, models), *_render_problems(plan)]:
        raise PlanError(problems)
    return plan


def _problems(plan: Plan) -> Iterator[str]:
    if not plan.templates:
        yield "there is no template; give at least one PromptTemplate"
    if len(set(plan.templates)) < len(plan.templates):
        yield "a template is given twice; remove one"
    if not len(plan.cases):
        yield "there are no cases; give at least one row, or leave cases= out for templates without variables"
    for first, second in plan.cases.duplicates():
        yield f"cases {first} and {second} are equal; remove one (to ask several times, use repeats=)"
    if isinstance(plan.repeats, bool) or not isinstance(plan.repeats, int) or plan.repeats < 1:
        yield f"repeats={plan.repeats!r}: a whole number from 1 is needed"
    if isinstance(plan.generation, bool) or not isinstance(plan.generation, int) or plan.generation < 0:
        yield f"generation={plan.generation!r}: a whole number from 0 is needed"
    yield from _grid_problems(plan)
    yield from _endpoint_problems(plan)
    yield from _column_problems(plan)


def _model_problems(plan: Plan, models: Sequence[str]) -> Iterator[str]:
    example = models[0] if models else "gpt-4.1-mini"
    if any(not cell.get("model") for cell in plan.grid):
        yield f"the grid names no model; add e.g. model={example!r} (lab.models() lists what is on offer)"
    named = dict.fromkeys(str(cell["model"]) for cell in plan.grid if cell.get("model"))
    for name in named if models else ():
        if name not in models:
            yield f"model={name!r} is not on offer here; this backend answers for {', '.join(map(repr, models))} only"


def _grid_problems(plan: Plan) -> Iterator[str]:
    if len(_distinct(plan.grid)) < len(plan.grid):
        yield "the grid has equal settings; remove one (to ask several times, use repeats=)"


def _endpoint_problems(plan: Plan) -> Iterator[str]:
    asked = dict.fromkeys(name for cell in plan.grid for name in cell.params if name not in cell.extra_names)
    for template in plan.templates:
        kind, refused = ("plain text", CHAT_ONLY) if template.is_text else ("messages", TEXT_ONLY)
        for name in asked:
            if name in refused:
                yield f"template {template.name!r} is {kind}, whose endpoint takes no {name}; use a grid of its own"


def _column_problems(plan: Plan) -> Iterator[str]:
    swept = _swept(plan)
    for name in sorted(swept & set(plan.cases.columns)):
        yield f"{name!r} is both a column of the cases and a variable of the grid; rename one"
    used = {name for template in plan.templates for name in template.variables}
    for name in sorted(swept - used):
        yield f"no template has a slot {{{{ {name} }}}}, which the grid sweeps"
    for template in plan.templates if len(plan.cases) else ():
        yield from template.missing([*plan.cases.columns, *sorted(swept)])


def _render_problems(plan: Plan) -> Iterator[str]:
    """Yield what goes wrong in rendering, but for variables that are missing in every case: they are told once."""
    known = [*plan.cases.columns, *_swept(plan)]
    variables = list(dict.fromkeys(compact(cell.variables) for cell in plan.grid))
    whole = [place for place, template in enumerate(plan.templates) if not template.missing(known)]
    for template, case, values in itertools.product(whole, range(len(plan.cases)), variables):
        try:
            plan._prompt(template, case, values)  # noqa: SLF001 - this module's own
        except TemplateError as exc:
            yield f"case {case}: {exc}"


def _swept(plan: Plan) -> set[str]:
    return {name for cell in plan.grid for name in cell.variable_names}


def _warnings(plan: Plan) -> Iterator[str]:
    if len(plan.cases) > 1 and not any(template.variables for template in plan.templates):
        yield "no template has a slot, so every case gets the same prompt; a slot is written {{ column }}"
    for template in plan.templates:
        yield from (f"template {template.name!r}: {warning}" for warning in template.warnings)
    yield from plan.grid.warnings
    if plan.repeats > 1 and any(cell.get("seed") is not None for cell in plan.grid):
        yield "repeats with a fixed seed: a server that honours the seed gives the same answer each time"
    if len(plan.cases) > 1 and any(cell.get("seed") is not None and cell.get("temperature") != 0 for cell in plan.grid):
        yield "one seed for all cases: the same draw decides every answer, so that sampling noise does not average out"
    yield from _refusals(plan.grid)
    yield from plan.learned


def _refusals(grid: ParameterGrid) -> Iterator[str]:
    refused: dict[str, set[str]] = {}
    for cell in grid:
        if REASONING_MODELS.fullmatch(str(cell.get("model"))) and cell.get("reasoning_effort") != "none":
            refused.setdefault(cell["model"], set()).update(name for name in SAMPLING if cell.get(name) is not None)
    for model, names in refused.items():
        if names:
            yield f"{model} is known to refuse {', '.join(sorted(names))} unless reasoning_effort is 'none'"


def _distinct(grid: ParameterGrid, name: str | None = None) -> set[str]:
    return {canonical(dict(cell) if name is None else cell.get(name)) for cell in grid}


def _exact(values: Mapping[str, Any]) -> str:
    """Return template values as one text; 1 and 1.0 differ in it, as they do in a prompt."""
    return compact(dict(sorted(values.items())))


def _estimate_facts(estimate: Estimate) -> list[tuple[str, str]]:
    sent = _text.count(estimate.to_send, "request")
    return [
        ("already answered", f"{estimate.answered:,}"),
        ("to send", sent if estimate.to_send else "nothing: every answer is in the file"),
        *(_sending_facts(estimate) if estimate.to_send else []),
    ]


def _sending_facts(estimate: Estimate) -> list[tuple[str, str]]:
    about = "at most " if estimate.completion_is_bound else "about "
    return [
        ("prompt tokens", _tokens(estimate.prompt_tokens, "about ")),
        ("completion tokens", _tokens(estimate.completion_tokens, about)),
        ("cost", _estimated_cost(estimate)),
        ("time", _text.UNKNOWN if estimate.time_s is None else f"about {_text.duration(estimate.time_s)}"),
    ]


def _estimated_cost(estimate: Estimate) -> str:
    if estimate.cost_usd is None:
        return _text.UNKNOWN
    about = "up to about " if estimate.completion_is_bound else "about "  # the prompt is estimated in any case
    return about + _text.usd(estimate.cost_usd) if estimate.cost_usd else "nothing"


def _tokens(number: int | None, about: str) -> str:
    return _text.UNKNOWN if number is None else f"{about}{number:,}"


def _pretty(body: str) -> str:
    text = indented(body)
    return text if len(text) <= _PREVIEW_CHARS else f"{text[:_PREVIEW_CHARS]}…"


def _preview_card(trial: Trial) -> str:
    body: Mapping[str, Any] = json.loads(trial.request.body)
    messages = body.get("messages") or [{"role": "text", "content": body.get("prompt", "")}]
    rows = [(message["role"], _message_text(message)) for message in messages]
    rest = {name: value for name, value in body.items() if name not in {"messages", "prompt"}}
    title = f"Trial {trial.position} · POST /{trial.request.endpoint}"
    return _text.html_card(title, _text.html_messages([*rows, ("body", compact(rest))]), note=trial.template.name)


def _message_text(message: Mapping[str, Any]) -> str:
    """Return what a message says: its text, or as JSON whatever else it holds."""
    rest = {name: value for name, value in message.items() if name != "role"}
    return rest["content"] if list(rest) == ["content"] and isinstance(rest["content"], str) else compact(rest)
