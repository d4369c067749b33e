"""The model after the study: its bundle, new cases, and another cohort."""
