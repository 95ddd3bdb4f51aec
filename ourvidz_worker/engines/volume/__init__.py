"""The models folder: what lies where, what is missing, and how it gets there."""
