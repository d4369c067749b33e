"""The painted demo cohort."""
