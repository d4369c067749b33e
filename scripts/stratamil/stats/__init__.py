"""Metrics, rankings and confidence intervals of arrays; nothing here knows a study."""
