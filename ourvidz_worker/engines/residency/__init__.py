"""The card's memory: what of the models lies on it, what is evicted for whom, and in which order."""
