"""Checks of the configuration and of the cluster before any job starts."""
