"""Patients, cases, labels, patches and splits, before any feature or model."""
