"""Prompt-engineering experiments in Jupyter.

Sweep templates and parameters over cases against an OpenAI-compatible API or a small model on this machine, with every
request and response logged in one SQLite file.

>>> from promptlab import Lab, LocalModel, ParameterGrid, PromptTemplate
"""

from promptlab.backends.http import HttpBackend
from promptlab.backends.local import LocalModel
from promptlab.cases import Cases
from promptlab.errors import (
    AnalysisError,
    BackendError,
    CaseError,
    ComparisonError,
    ExportError,
    GridError,
    LocalModelError,
    MissingKeyError,
    NotFoundError,
    OfflineError,
    PlanError,
    PromptlabError,
    PromptlabWarning,
    RatingError,
    ReadOnlyError,
    RunError,
    ScoreError,
    SearchError,
    StoreError,
    TemplateError,
)
from promptlab.grids import ParameterGrid
from promptlab.lab import Lab
from promptlab.limits import RateLimits
from promptlab.model_judges import model_judge
from promptlab.plans import Plan
from promptlab.prices import Price
from promptlab.retries import RetryPolicy
from promptlab.run import Run
from promptlab.scorers import (
    Score,
    Scorer,
    choice,
    contains,
    cost,
    exact_match,
    json_schema,
    json_valid,
    latency,
    length,
    numeric,
    one_of,
    regex,
    scorer,
    similarity,
)
from promptlab.templates import PromptTemplate

__version__ = "0.1.0"

__all__ = [
    "AnalysisError",
    "BackendError",
    "CaseError",
    "Cases",
    "ComparisonError",
    "ExportError",
    "GridError",
    "HttpBackend",
    "Lab",
    "LocalModel",
    "LocalModelError",
    "MissingKeyError",
    "NotFoundError",
    "OfflineError",
    "ParameterGrid",
    "Plan",
    "PlanError",
    "Price",
    "PromptTemplate",
    "PromptlabError",
    "PromptlabWarning",
    "RateLimits",
    "RatingError",
    "ReadOnlyError",
    "RetryPolicy",
    "Run",
    "RunError",
    "Score",
    "ScoreError",
    "Scorer",
    "SearchError",
    "StoreError",
    "TemplateError",
    "choice",
    "contains",
    "cost",
    "exact_match",
    "json_schema",
    "json_valid",
    "latency",
    "length",
    "model_judge",
    "numeric",
    "one_of",
    "regex",
    "scorer",
    "similarity",
]
