"""What a past run was made of: its templates, grid and cases, as values that can be planned again."""

from __future__ import annotations

import json

from promptlab.cases import Cases
from promptlab.grids import ParameterGrid, restored
from promptlab.results import RunRow
from promptlab.store import Store
from promptlab.templates import PromptTemplate
from promptlab.versions import templates

_CASES = """
select cases.inputs from (select case_index, case_id from trials where run_id = ? group by case_index) as used
join cases on cases.id = used.case_id order by used.case_index
"""


def templates_of(store: Store, run: RunRow) -> list[PromptTemplate]:
    """Return the templates of a run, in the plan's order."""
    return templates(store, map(tuple, run.plan["templates"]))


def grid_of(run: RunRow) -> ParameterGrid:
    """Return the settings of a run, in the plan's order."""
    return restored(run.plan["cells"], variables=run.plan["variables"])


def cases_of(store: Store, run: RunRow) -> Cases:
    """Return the cases of a run, in the plan's order, with every column they had."""
    rows = [json.loads(row[0]) for row in store.read(_CASES, (run.id,))]
    return Cases([{name: row.get(name) for name in run.plan["columns"]} for row in rows])
