"""Outputs side by side: any varying thing on the rows and on the columns; no Jupyter, see `panels.matrix` for the panel.

    spec.py      what is asked for: a frozen value, that is JSON
    axes.py      what varies over some runs, and what does not
    trials.py    the trials of the runs as columns of numbers, read once and brought up to date
    table.py     spec and trials -> rows, columns, cells, order
    measures.py  heads of columns, facets
    cells.py     what a page shows, read by key;  details.py: all there is to one answer
    sql.py       the same cells as one SELECT
"""

from promptlab.comparison.spec import Spec
from promptlab.comparison.table import Table

__all__ = ["Spec", "Table"]
