"""Verdicts: what the votes of a blind pairwise rating say, with how sure we can be.

How votes count: a tie is half a win for each side, and so is "both bad", which says that neither is better; both are
reported apart. Pairs that were tied without asking, since both answers say the same, count as ties. Skipped pairs are
left out. A pair that came back mirrored counts once, by its first vote that is no skip; another only tells
self-agreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from promptlab import _text, stats
from promptlab.pairings import Pairing, Variant, labels
from promptlab.stats import Agreement, Interval, PositionBias, Ranking, SignTest

if TYPE_CHECKING:
    import pandas as pd

Choice = Literal["left", "right", "tie", "bad", "skip"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One standing vote on one pairing.

    Attributes
    ----------
    is_mirror
        Whether the pairing had been asked before with its sides exchanged.
    saw_differences
        Whether what differs between the two texts was marked when the vote was cast.
    ms
        The time it took, in milliseconds; None where it is not known.
    """

    pairing: Pairing
    position: int
    rater: str
    choice: Choice
    strength: int | None
    reasons: tuple[str, ...]
    note: str
    saw_differences: bool
    ms: int | None
    is_mirror: bool
    created_at: str

    @property
    def preferred(self) -> int | None:
        """The place of the variant that was preferred, or None."""
        return {"left": self.pairing.left, "right": self.pairing.right}.get(self.choice)

    @property
    def verdict(self) -> int | str:
        """What was said of the two answers, whichever side they stood on."""
        return self.choice if self.preferred is None else self.preferred

    @property
    def scores(self) -> tuple[float, float]:
        """What the pair's first and second variant got: 1 for a win, a half each for a tie or both bad."""
        if self.preferred is None:
            return (0.5, 0.5)
        return (1.0, 0.0) if self.preferred == self.pairing.pair[0] else (0.0, 1.0)


@dataclass(frozen=True)
class Verdict:
    """What one rater's votes say of the variants.

    Attributes
    ----------
    variants
        What was compared.
    votes
        The standing votes, those of pairs tied without asking included.
    asked
        How many pairings there were to vote on.
    """

    variants: tuple[Variant, ...]
    votes: tuple[Vote, ...]
    asked: int
    criterion: str

    @property
    def labels(self) -> list[str]:
        """The variants' names."""
        return labels(self.variants)

    @cached_property
    def counted(self) -> list[Vote]:
        """The votes that count: of each pair the first that is no skip."""
        first: dict[Hashable, Vote] = {}
        for vote in self._decided:
            first.setdefault(_outputs(vote), vote)
        return list(first.values())

    @property
    def _decided(self) -> list[Vote]:
        return sorted((vote for vote in self.votes if vote.choice != "skip"), key=lambda vote: vote.position)

    @property
    def n(self) -> int:
        """How many pairs count."""
        return len(self.counted)

    @property
    def cases(self) -> int:
        """On how many different cases."""
        return len({vote.pairing.item.case for vote in self.counted})

    @property
    def ties(self) -> int:
        """How many of them were called a tie."""
        return sum(vote.choice == "tie" and not vote.pairing.is_identical for vote in self.counted)

    @property
    def identical(self) -> int:
        """How many were tied without asking."""
        return sum(vote.pairing.is_identical for vote in self.counted)

    @property
    def both_bad(self) -> int:
        """How many times both were bad."""
        return sum(vote.choice == "bad" for vote in self.counted)

    @property
    def skipped(self) -> int:
        """How many showings were skipped; a pair that came back mirrored has two."""
        return sum(vote.choice == "skip" for vote in self.votes)

    @property
    def win_rate(self) -> Interval | None:
        """How often the first of two variants won, a tie counting half, with its interval.

        Several pairs of one case say less than as many of different cases; the interval allows for that. None of more
        than two variants, where `ranking` tells, and where no vote counts.
        """
        if len(self.variants) != 2 or not self.n:  # noqa: PLR2004 - a rate is of two
            return None
        return self._rate(0)

    def _rate(self, place: int) -> Interval | None:
        """Return how often a variant won."""
        votes = [vote for vote in self.counted if place in vote.pairing.pair]
        scores = [vote.scores[vote.pairing.pair.index(place)] for vote in votes]
        return stats.grouped_rate(scores, [vote.pairing.item.case for vote in votes]) if votes else None

    @property
    def sign_test(self) -> SignTest | None:
        """The exact test of wins against losses of the first of two variants, ties left out; None of more than two.

        It takes the pairs for independent, which several of one case are only nearly.
        """
        if len(self.variants) != 2:  # noqa: PLR2004 - see win_rate
            return None
        wins = Counter(vote.preferred for vote in self.counted)
        return stats.sign_test(wins[0], wins[1])

    @cached_property
    def ranking(self) -> Ranking:
        """Bradley-Terry strengths, a tie counting half; see `promptlab.stats.bradley_terry`.

        Several pairs of one case say less than as many of different cases; the intervals allow for that.
        """
        labels = self.labels
        games = [(*(labels[place] for place in vote.pairing.pair), vote.scores[0]) for vote in self.counted]
        cases = [vote.pairing.item.case for vote in self.counted]
        return stats.bradley_terry(games, cases)  # type: ignore[arg-type]  # a pair is two labels

    @property
    def position_bias(self) -> PositionBias:
        """Whether the side decided."""
        sides = Counter(vote.choice for vote in self.counted)
        return stats.position_bias(sides["left"], sides["right"])

    @property
    def self_agreement(self) -> Agreement:
        """How often the same was said of a pair that came back mirrored, and how far beyond chance."""
        first = {_outputs(vote): vote for vote in self.counted}
        both = [(first[_outputs(vote)], vote) for vote in self._decided]
        return stats.cohen_kappa([(one.verdict, other.verdict) for one, other in both if one is not other])

    @property
    def median_s(self) -> float | None:
        """The median time a vote took, in seconds; None where no time is known."""
        times = [vote.ms for vote in self.votes if vote.ms is not None and vote.choice != "skip"]
        return median(times) / 1000 if times else None

    def table(self) -> pd.DataFrame:
        """Return one row a variant, the strongest first: wins, ties, losses, n, win rate and strength with intervals.

        `ties` holds ties of every kind, both bad too. `strength` is in log-odds, 0 being a variant of average strength.
        """
        import pandas as pd  # noqa: PLC0415 - costs 0.3 s, so only where it is used

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of `table`."""
        wins, ties, games = Counter[int](), Counter[int](), Counter[int]()
        for vote in self.counted:
            games.update(vote.pairing.pair)
            if vote.preferred is None:
                ties.update(vote.pairing.pair)
            else:
                wins[vote.preferred] += 1
        strengths = {strength.name: strength for strength in self.ranking.strengths}
        order = [*strengths, *(name for name in self.labels if name not in strengths)]
        places = {name: place for place, name in enumerate(self.labels)}
        return [
            _row(name, wins[p], ties[p], games[p], rate=self._rate(p), strength=strengths.get(name))
            for name, p in ((name, places[name]) for name in order)
        ]

    def frame(self, settings: Sequence[str]) -> pd.DataFrame:
        """Return one row a vote, in the order asked; `settings` are those that both sides share."""
        import pandas as pd  # noqa: PLC0415 - see table

        rows = [_frame_row(vote, self.labels) for vote in self.votes]
        frame = pd.DataFrame(rows, columns=[*_ASKED, *settings, *_KEPT])
        return frame.astype({"strength": "Int64", "seconds": "float64"})

    def facts(self) -> list[tuple[str, str]]:
        """Return what there is to say, as (what, sentence)."""
        wins = self._wins()
        facts = [
            ("criterion", self.criterion),
            ("result", wins),
            ("sign test", f"{self.sign_test.wins} to {self.sign_test.losses}, {stats.p_text(self.sign_test.p)}")
            if self.sign_test
            else ("strengths", self._strengths()),
            ("counted", self._counted()),
            ("position bias", _bias(self.position_bias)),
            ("self-agreement", _agreement(self.self_agreement)),
            ("time", "unknown" if self.median_s is None else f"{self.median_s:.1f} s a vote (median)"),
        ]
        return [(what, said) for what, said in facts if said]

    def _wins(self) -> str:
        rate = self.win_rate
        if not self.n:
            return "no vote counts"
        if rate is None:
            return " > ".join(strength.name for strength in self.ranking.strengths)
        one, other = self.labels
        return f"{one} wins {percent(rate)} against {other}, ties counting half"

    def _strengths(self) -> str:
        said = ", ".join(f"{each.name} {each.log_odds.estimate:+.2f}" for each in self.ranking.strengths)
        return said if self.ranking.is_bounded or not said else f"{said} (bounded by a prior: see ranking.is_bounded)"

    def _counted(self) -> str:
        parts = {"tied": self.ties, "tied without asking": self.identical, "both bad": self.both_bad}
        of = ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)
        skipped = f"; {self.skipped:,} skipped" if self.skipped else ""
        return f"{_text.count(self.n, 'pair')} on {_text.count(self.cases, 'case')}{f', {of}' if of else ''}{skipped}"

    def __repr__(self) -> str:
        rest = [(what, said) for what, said in self.facts() if what not in {"criterion", "result"}]
        return f"<Verdict: {self._wins()}>\n{_text.text_table(rest)}"

    def _repr_html_(self) -> str:
        return _text.html_card("Verdict", self.html())

    def html(self) -> str:
        """Return the facts and the table by variant, as HTML."""
        rows = [[_cell(row[name]) for name in COLUMNS] for row in self.rows()]
        return _text.html_table(self.facts()) + _text.html_table(
            rows, head=[name.replace("_", " ") for name in COLUMNS]
        )


#: The columns of `Verdict.table()`.
COLUMNS = (
    *("variant", "wins", "ties", "losses", "n", "win_rate", "low", "high"),
    *("strength", "strength_low", "strength_high"),
)


def _row(
    name: str, wins: int, ties: int, n: int, *, rate: Interval | None, strength: stats.Strength | None
) -> dict[str, Any]:
    odds = strength.log_odds if strength else None
    return {
        "variant": name,
        "wins": wins,
        "ties": ties,
        "losses": n - wins - ties,
        "n": n,
        **dict(zip(COLUMNS[5:], (*_ends(rate), *_ends(odds)), strict=True)),
    }


# The columns of a session's frame; the settings that both sides share stand between them.
_ASKED = (
    *("position", "left", "right", "choice", "preferred", "strength", "reasons", "note", "saw_differences"),
    *("seconds", "mirrored", "rater", "case", "repeat"),
)
_KEPT = ("left_output_id", "right_output_id", "voted_at")


def _frame_row(vote: Vote, labels: Sequence[str]) -> dict[str, Any]:
    pairing, item = vote.pairing, vote.pairing.item
    return {
        "position": vote.position,
        "left": labels[pairing.left],
        "right": labels[pairing.right],
        "choice": vote.choice,
        "preferred": None if vote.preferred is None else labels[vote.preferred],
        "strength": vote.strength,
        "reasons": ", ".join(vote.reasons),
        "note": vote.note,
        "saw_differences": vote.saw_differences,
        "seconds": None if vote.ms is None else vote.ms / 1000,
        "mirrored": vote.is_mirror,
        "rater": vote.rater,
        "case": item.case,
        "repeat": item.repeat,
        **dict(item.settings),
        "left_output_id": pairing.left_id,
        "right_output_id": pairing.right_id,
        "voted_at": vote.created_at,
    }


def _ends(interval: Interval | None) -> tuple[float | None, ...]:
    return (interval.estimate, interval.low, interval.high) if interval else (None, None, None)


def _cell(value: Any) -> str:
    if value is None:
        return _text.UNKNOWN
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _outputs(vote: Vote) -> Hashable:
    """Return what a pairing and its mirrored repeat have in common."""
    return (vote.pairing.item, vote.pairing.pair)


def _bias(bias: PositionBias) -> str:
    if bias.rate is None:
        return "unknown: nothing was decided"
    return f"left preferred {percent(bias.rate)} of {bias.left + bias.right}, {stats.p_text(bias.p)}"


def _agreement(agreement: Agreement) -> str:
    if not agreement.n:
        return "unknown: nothing came back"
    kappa = agreement.kappa
    beyond = "" if kappa is None else f", kappa {kappa.estimate:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
    return f"{agreement.agreed} of {agreement.n} that came back mirrored{beyond}"


def percent(interval: Interval) -> str:
    """Return a rate and its interval as people read it.

    >>> percent(stats.wilson(58, 100))
    '58 % (95 % interval 48 to 67)'
    """
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.estimate:.0f} % ({100 * interval.confidence:.0f} % interval {low:.0f} to {high:.0f})"
