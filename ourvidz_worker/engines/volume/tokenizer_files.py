"""What a tokenizer is read from."""

from __future__ import annotations

from pathlib import Path

_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))


def holds_vocabulary(folder: Path) -> bool:
    """Without one, the libraries make a tokenizer that knows no words, and say nothing."""
    return any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES)
