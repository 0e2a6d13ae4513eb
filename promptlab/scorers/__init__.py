"""Scorers: what is said of an answer by rule, as a number or a label. Pure: nothing is read or written here."""

from promptlab.scorers._base import Answered, Score, Scorer
from promptlab.scorers.functions import scorer
from promptlab.scorers.texts import exact_match

__all__ = ["Answered", "Score", "Scorer", "exact_match", "scorer"]
