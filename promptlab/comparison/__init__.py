"""Outputs side by side: any varying thing on rows and columns. No Jupyter here; `panels.matrix` is the panel.

`spec` is what is asked for, a frozen value that is JSON. `axes` says what varies over some runs, `trials` holds them as
columns of numbers. From these a `layout` makes rows, columns and cells, `filters` and `order` which rows are shown and
how; `table` keeps it all. `cells` and `details` read what a page and a drawer show, `measures` what stands above the
columns and beside the table, `sql` gives the same cells as one SELECT.
"""

from promptlab.comparison.spec import Spec
from promptlab.comparison.table import Table

__all__ = ["Spec", "Table"]
