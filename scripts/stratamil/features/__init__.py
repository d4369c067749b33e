"""Patch features: computed by a frozen encoder or taken from external files, and stored in shards."""
