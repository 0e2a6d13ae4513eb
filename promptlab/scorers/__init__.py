"""Scorers: what is said of an answer by rule, as a number or a label. Pure: nothing is read or written here."""

from promptlab.scorers._base import Answered, Score, Scorer
from promptlab.scorers.choices import choice
from promptlab.scorers.formats import json_schema, json_valid
from promptlab.scorers.functions import scorer
from promptlab.scorers.measures import MEASURES, cost, latency, length
from promptlab.scorers.numbers import numeric
from promptlab.scorers.texts import contains, exact_match, one_of, regex, similarity

__all__ = [
    "MEASURES",
    "Answered",
    "Score",
    "Scorer",
    "choice",
    "contains",
    "cost",
    "exact_match",
    "json_schema",
    "json_valid",
    "latency",
    "length",
    "numeric",
    "one_of",
    "regex",
    "scorer",
    "similarity",
]
