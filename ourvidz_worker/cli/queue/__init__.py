"""Commands for operators: what waits, who holds it, what was put aside, and what to do about it."""
