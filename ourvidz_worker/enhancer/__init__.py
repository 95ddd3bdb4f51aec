"""The language worker's own HTTP interface: prompts to rewrite, scripts to divide, and how it fares."""
