"""The `models` command: weights on the volume, and where they come from."""
