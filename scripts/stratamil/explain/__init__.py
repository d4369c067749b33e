"""What the models attended to, and whether that explains their predictions."""
