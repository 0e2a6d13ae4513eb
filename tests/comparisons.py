"""A run to compare: two templates, two temperatures, four cases, three repeats; some answers differ, some fail."""

from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.comparison import Spec, cells, sql
from promptlab.testing import ScriptedBackend, error_reply, text_reply

TERSE = PromptTemplate("terse", system="Answer with one word.", user="Capital of {{ country }}?")
CHATTY = PromptTemplate("chatty", system="Answer in a sentence.", user="Capital of {{ country }}?")
CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi"}
CASES = [
    {"country": country, "capital": capital, "continent": continent}
    for (country, capital), continent in zip(CAPITALS.items(), ("Europe", "Asia", "America", "Africa"), strict=True)
]
REPEATS = 3
BY_COUNTRY = Spec(rows="country", columns=["template", "temperature"])


def answers(**replies):
    """Return a script that answers by country; `replies` replace the answers of one, in the order it is asked."""
    asked = {}

    def answer(body):
        country = body["messages"][-1]["content"].removeprefix("Capital of ").removesuffix("?")
        is_terse = "one word" in body["messages"][0]["content"]
        if country == "Kenya":
            return error_reply(400, "this question is refused", code="content_policy_violation")
        number = asked[country] = asked.get(country, -1) + 1
        if country in replies:
            return text_reply(replies[country][number % len(replies[country])], body, finish_reason="stop")
        if country == "Japan" and body["temperature"] == 1 and number % REPEATS == 1:
            return text_reply("Kyoto, or", body, finish_reason="length")
        return CAPITALS[country] if is_terse else f"The capital of {country} is {CAPITALS[country]}."

    return answer


def lab_of(path, answer=None, **options):
    """Return a lab that answers as above."""
    return Lab(path, backend=ScriptedBackend(answer or answers(), **{"identity": "compared", **options}))


def run_beside(lab, answer, **options):
    """Run the study into the file of a lab, answered by another backend."""
    with lab_of(lab.path, answer, identity="another") as other:
        run_in(other, **options)


def run_in(lab, *, name="capitals", templates=(TERSE, CHATTY), repeats=REPEATS, cases=CASES, **params):
    """Run the study, one request at a time, so that its answers are always the same."""
    grid = ParameterGrid({"model": "m", "temperature": [0, 1], "max_tokens": 16, **params})
    return lab.run(list(templates), grid, cases=cases, repeats=repeats, name=name, concurrency=1, progress=False)


def change(table, **fields):
    """Lay a table out with some fields of its spec replaced, and return it."""
    table.lay_out(table.spec.changed(fields))
    return table


def countries(table):
    """Return the first label of each row that is left, as shown."""
    return [table.layout.labels(row)[0] for row in table.layout.order.tolist()]


def cell(table, country, column, variant=0):
    """Return one cell as it is drawn."""
    place = table.layout.cell(table.layout.row_of_labels([country]), table.layout.column_of(column))
    return cells.draw(table, [cells.Place(place, variant)])[0]


def frame_of(lab, run=1):
    """Return the run's own frame: what the table has to agree with."""
    return lab.load(run).frame()


def trials_left(table):
    """Return the ids of the trials in the rows that are left."""
    layout = table.layout
    return sorted(table.trials.id[layout.members[layout.kept_members]].tolist())


def trials_of_sql(lab, table):
    """Return the ids of the trials that the table's SELECT gives on the file."""
    return sorted(lab.sql(sql.select(table))["trial_id"].tolist())
