"""Metrics, rankings and confidence intervals of arrays; nothing here knows a study.

Not defined, in the whole library: a number that the data cannot give (one class only, 0/0, too few patients) is None
where it stands alone in Python, and null in JSON; NaN within arrays and columns of tables only; an empty cell in CSV.
"""
