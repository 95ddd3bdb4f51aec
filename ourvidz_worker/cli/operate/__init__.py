"""The operator's doors: the facts in a terminal and as a page."""
