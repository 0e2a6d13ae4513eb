"""Which of the things varied matters most: shares of variance, and whether each could be chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Share:
    """What one term takes of the variance.

    Attributes
    ----------
    term
        A factor, two of them joined by ` × `, `case`, or `rest`: repeats, and what cases and settings do together.
    share
        Of the total sum of squares, 0 to 1; None where nothing varies.
    df
        The term's degrees of freedom.
    p
        Whether it could be chance; None for `case` and `rest`, and where too few cases have every level.
    """

    term: str
    share: float | None
    df: int
    p: float | None


def shares_of_variance(
    values: Sequence[float], factors: Mapping[str, Sequence[Hashable]], groups: Sequence[Hashable]
) -> list[Share]:
    """Return what main effects, two-way interactions and the cases (groups) take of the variance, and what is left.

    A share is the term's sum of squares of type II over the total (eta squared). In a balanced design they sum to 1
    (with interactions of three and more factors in the rest); in an unbalanced one they need not.

    The p-value of a term sets it against its own interaction with the cases, as in repeated-measures analysis of
    variance, so that neither repeats nor the settings of one case count as independent; Greenhouse and Geisser's
    correction allows for unequal correlations. Cases that lack a level are left out of it.

    Source: Searle, Casella and McCulloch (1992), Variance Components, chapter 4, for sums of squares; Greenhouse and
    Geisser (1959), Psychometrika 24:95.

    >>> found = shares_of_variance([1, 2, 2, 4, 2, 3], {"prompt": list("ababab")}, [1, 1, 2, 2, 3, 3])
    >>> [(each.term, round(each.share, 2), each.df) for each in found]
    [('prompt', 0.5, 1), ('case', 0.44, 2), ('rest', 0.06, 2)]
    """
    import numpy as np  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    y = np.asarray(values, dtype=np.float64)
    codes = {name: _codes(levels) for name, levels in factors.items()}
    cases = _codes(groups)
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    columns: dict[tuple[str, ...], NDArray[np.float64]] = {(name,): _dummies(codes[name]) for name in codes}
    columns |= {(one, other): _crossed(columns[(one,)], columns[(other,)]) for one, other in combinations(codes, 2)}
    design = _Design(y, columns, cases)
    found = []
    for term in columns:
        kept = [other for other in columns if other != term and not set(term) <= set(other)]
        without, df_without = design.left(kept)
        with_term, df_with = design.left([*kept, term])
        name = " × ".join(term)
        p = _p_of({each: codes[each] for each in term}, y, cases)
        df = df_with - df_without  # 0 where the other terms say it all already: what is due to which, nobody can tell
        found.append(Share(name, _share(without - with_term, total) if df else None, df, p if df else None))
    plain, df_plain = design.left(list(columns), has_cases=False)
    rest, df_rest = design.left(list(columns))
    found.append(Share("case", _share(plain - rest, total), df_rest - df_plain, None))
    found.append(Share("rest", _share(rest, total), len(y) - df_rest, None))
    return found


class _Design:
    """Least squares with a constant and, unless asked otherwise, the cases, which are taken out by their means."""

    def __init__(
        self, y: NDArray[np.float64], columns: Mapping[tuple[str, ...], NDArray[np.float64]], cases: NDArray[np.intp]
    ) -> None:
        self._y, self._columns, self._cases = y, columns, cases

    def left(self, terms: Sequence[tuple[str, ...]], *, has_cases: bool = True) -> tuple[float, int]:
        """Return the sum of squares that the terms leave, and how many parameters they are."""
        import numpy as np  # noqa: PLC0415 - see shares_of_variance

        cases = self._cases if has_cases else np.zeros(len(self._y), dtype=np.intp)
        constants = int(cases.max()) + 1 if len(cases) else 0
        y = _centred(self._y[:, None], cases)
        if not terms or not len(y):
            return float((y**2).sum()), constants
        x = _centred(np.hstack([self._columns[term] for term in terms]), cases)
        left, _, rank, _ = np.linalg.lstsq(x.T @ x, x.T @ y, rcond=_RANK)
        return float(((y - x @ left) ** 2).sum()), constants + int(rank)


def _share(squares: float, total: float) -> float | None:
    return min(1.0, max(0.0, squares / total)) if total > _FLAT else None


def _codes(levels: Sequence[Hashable]) -> NDArray[np.intp]:
    import numpy as np  # noqa: PLC0415 - see shares_of_variance

    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(level, len(places)) for level in levels], dtype=np.intp)


def _dummies(codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a column for each level but the first."""
    import numpy as np  # noqa: PLC0415 - see shares_of_variance

    number = int(codes.max()) + 1 if len(codes) else 0
    dummies: NDArray[np.float64] = (codes[:, None] == np.arange(1, number)).astype(np.float64)
    return dummies


def _crossed(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    crossed: NDArray[np.float64] = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return crossed


def _centred(columns: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return columns less the mean of each one's group."""
    import numpy as np  # noqa: PLC0415 - see shares_of_variance

    if not len(groups):
        return columns
    counts = np.bincount(groups)
    sums = np.zeros((len(counts), columns.shape[1]))
    np.add.at(sums, groups, columns)
    centred: NDArray[np.float64] = columns - (sums / counts[:, None])[groups]
    return centred


# Whether a term could be chance


def _p_of(codes: Mapping[str, NDArray[np.intp]], y: NDArray[np.float64], cases: NDArray[np.intp]) -> float | None:
    """Return the p-value of a term against its interaction with the cases, of those cases that have every level."""
    import numpy as np  # noqa: PLC0415 - see shares_of_variance
    from scipy.stats import f  # noqa: PLC0415 - costs 0.5 s, so only where it is used

    sizes = [int(each.max()) + 1 if len(each) else 0 for each in codes.values()]
    if min(sizes) < 2:  # noqa: PLR2004 - one level makes no difference
        return None
    cells = np.ravel_multi_index(tuple(codes.values()), sizes)
    number, width = int(cases.max()) + 1, math.prod(sizes)
    sums, counts = np.zeros((number, width)), np.zeros((number, width))
    np.add.at(sums, (cases, cells), y)
    np.add.at(counts, (cases, cells), 1)
    whole = (counts > 0).all(axis=1)
    if whole.sum() < 2:  # noqa: PLR2004 - one case does not vary
        return None
    contrasts: NDArray[np.floating[Any]] = np.ones((1, 1))
    for size in sizes:
        contrasts = np.kron(contrasts, _contrasts(size))
    scores = sums[whole] / counts[whole] @ contrasts
    n, q = scores.shape
    covariance = np.atleast_2d(np.cov(scores, rowvar=False))
    error = float(np.trace(covariance))
    if error <= _FLAT:
        return None
    epsilon = error**2 / (q * float((covariance**2).sum()))
    ratio = n * float((scores.mean(axis=0) ** 2).sum()) / error
    return float(f.sf(ratio, epsilon * q, epsilon * q * (n - 1)))


def _contrasts(size: int) -> NDArray[np.float64]:
    """Return orthonormal contrasts of so many levels, one a column."""
    import numpy as np  # noqa: PLC0415 - see shares_of_variance

    basis, _ = np.linalg.qr(np.hstack([np.ones((size, 1)), np.eye(size)[:, : size - 1]]))
    contrasts: NDArray[np.float64] = basis[:, 1:]
    return contrasts


_FLAT = 1e-12
_RANK = 1e-10  # a direction this much smaller than the largest is none
