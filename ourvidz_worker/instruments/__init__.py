"""Metrics, stages and traces that any ring may count and name; nothing here does I/O."""
