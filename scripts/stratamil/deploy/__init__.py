"""The model after the study: its bundle, and predictions of new cases from the bundle alone."""
