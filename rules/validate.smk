"""Hold the frozen predictions of another cohort against its labels: a page in the style of the report.

INPUTS: bundle, labels table; predict's predictions.csv, flags.csv, shift.csv and inventory
OUTPUTS: predict/{name}/validation/index.html (self-contained), validation.json, metrics.csv, characteristics.csv, figures
"""
