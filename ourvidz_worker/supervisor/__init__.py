"""Keeps the worker processes alive and knows how they are. Knows nothing of jobs beyond what workers announce."""
