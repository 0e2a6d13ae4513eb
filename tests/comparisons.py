"""A run to compare: two templates, two temperatures, four cases, three repeats; some answers differ, some fail."""

from promptlab import Lab, ParameterGrid, PromptTemplate
from promptlab.testing import ScriptedBackend, error_reply, text_reply

TERSE = PromptTemplate("terse", system="Answer with one word.", user="Capital of {{ country }}?")
CHATTY = PromptTemplate("chatty", system="Answer in a sentence.", user="Capital of {{ country }}?")
CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi"}
CASES = [
    {"country": country, "capital": capital, "continent": continent}
    for (country, capital), continent in zip(CAPITALS.items(), ("Europe", "Asia", "America", "Africa"), strict=True)
]
REPEATS = 3


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
