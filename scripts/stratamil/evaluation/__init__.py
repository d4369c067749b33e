"""Predictions of the test cases, and every number of the cross-split report."""
