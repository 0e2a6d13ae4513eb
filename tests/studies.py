"""A small study that many tests run: one question a case, answered by whatever backend a lab has."""

from promptlab import Lab, ParameterGrid, PromptTemplate, RetryPolicy
from promptlab.plans import Plan

ASK = PromptTemplate("ask", user="{{ q }}")
BRISK = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05, deadline_s=20.0)  # as patient as usual, but not as slow


def cases(n: int, word: str = "q") -> list[dict[str, str]]:
    """Return n cases, whose questions are `q0`, `q1`, ..."""
    return [{"q": f"{word}{number}"} for number in range(n)]


def plan_of(lab: Lab, n: int = 3, *, repeats: int = 1, generation: int = 0, word: str = "q", **params: object) -> Plan:
    """Return the plan of n cases for model `m`, or another, with whatever parameters."""
    grid = ParameterGrid({"model": "m", "max_tokens": 16, **params})
    return lab.plan(ASK, grid, cases=cases(n, word), repeats=repeats, generation=generation)
