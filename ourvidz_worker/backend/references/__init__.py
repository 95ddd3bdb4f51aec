"""Reference pictures: where they may come from, how they are fetched, and what is taken from them."""
