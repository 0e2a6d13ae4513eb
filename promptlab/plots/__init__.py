"""Plots of a run, drawn with matplotlib's objects: no pyplot, no global setting touched, nothing shown by itself.

Every plot takes `ax=` and returns a `Plot`, which holds the axes, the numbers that were drawn and one sentence for who
cannot see it. What is common to them: an interval wherever a mean is, the sizes and what is missing in the note,
a marker or a hatch beside every colour, and text of models, files and cases as text, never as mathematics.
"""

from promptlab.plots._plot import Plot
from promptlab.plots._plots import Plots

__all__ = ["Plot", "Plots"]
