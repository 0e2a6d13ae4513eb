"""The panels a notebook shows: the only room that knows Jupyter."""
