"""A tokenizer that needs no files: one token for each word, made when it is first seen."""

from collections.abc import Sequence
from typing import Any

TEXTS = [" ".join(f"w{5 * row + word}" for word in range(9)) for row in range(4)]
"""Four passages of nine words, some of which they share."""


class WordTokenizer:
    """Gives each word a number, in the order of first appearance, below ``vocabulary``."""

    def __init__(self, vocabulary: int = 99) -> None:
        self._vocabulary = vocabulary
        self._words: list[str] = []

    def __call__(self, text: str, *, truncation: bool, max_length: int) -> dict[str, Any]:
        assert truncation
        words = text.split()[:max_length]
        for word in words:
            if word not in self._words:
                self._words.append(word)
        ids = [self._words.index(word) % (self._vocabulary - 3) + 3 for word in words]
        return {"input_ids": ids}

    def decode(self, token_ids: Sequence[int]) -> str:
        return " ".join(self._words[token - 3] for token in token_ids)
