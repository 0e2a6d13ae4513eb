"""Statistics: intervals, paired comparisons, shares of variance, repeats, votes and strengths.

Pure functions of numbers, on scipy and numpy, which are loaded where they are first used. Each names its source. What
cannot be known is None or NaN (an agreement beyond chance when there is no chance to differ), never 0.
"""

from promptlab.stats.intervals import CONFIDENCE, Interval, grouped_rate, mean_interval, wilson
from promptlab.stats.paired import Paired, cases_needed, holm, mcnemar, paired
from promptlab.stats.repeats import Majority, agreement, distinct_n, majority, pass_at_k
from promptlab.stats.strengths import Ranking, Strength, bradley_terry
from promptlab.stats.variance import Share, shares_of_variance
from promptlab.stats.votes import (
    Agreement,
    PositionBias,
    SignTest,
    cohen_kappa,
    p_text,
    position_bias,
    sign_test,
)

__all__ = [
    "CONFIDENCE",
    "Agreement",
    "Interval",
    "Majority",
    "Paired",
    "PositionBias",
    "Ranking",
    "Share",
    "SignTest",
    "Strength",
    "agreement",
    "bradley_terry",
    "cases_needed",
    "cohen_kappa",
    "distinct_n",
    "grouped_rate",
    "holm",
    "majority",
    "mcnemar",
    "mean_interval",
    "p_text",
    "paired",
    "pass_at_k",
    "position_bias",
    "shares_of_variance",
    "sign_test",
    "wilson",
]
