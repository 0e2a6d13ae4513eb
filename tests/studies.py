"""A small study that many tests run: one question a case, answered by whatever backend a lab has."""

from typing import Any

from promptlab import Lab, ParameterGrid, PromptTemplate, RetryPolicy
from promptlab.attempts import Reply
from promptlab.plans import Plan
from promptlab.testing import error_reply

ASK = PromptTemplate("ask", user="{{ q }}")
BRISK = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05, deadline_s=20.0)  # as patient as usual, but not as slow


def cases(n: int, word: str = "q") -> list[dict[str, str]]:
    """Return n cases, whose questions are `q0`, `q1`, ..."""
    return [{"q": f"{word}{number}"} for number in range(n)]


def plan_of(lab: Lab, n: int = 3, *, repeats: int = 1, generation: int = 0, word: str = "q", **params: object) -> Plan:
    """Return the plan of n cases for model `m`, or another, with whatever parameters."""
    grid = ParameterGrid({"model": "m", "max_tokens": 16, **params})
    return lab.plan(ASK, grid, cases=cases(n, word), repeats=repeats, generation=generation)


def echo(body: dict[str, Any]) -> str | Reply:
    """Answer with the question; `q1` is refused."""
    question = body["messages"][-1]["content"]
    return error_reply(400, "no") if question == "q1" else f"answer to {question}"
