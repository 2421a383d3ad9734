"""What each format of dictionaries offers."""

from abc import ABC, abstractmethod
from pathlib import Path, PurePath

import torch

from backlight.dictionaries.dictionary import Card, Dictionary


class Format(ABC):
    """How one library keeps a dictionary: a file of weights, and what is told beside it."""

    @abstractmethod
    def recognises(self, file: PurePath) -> bool:
        """Return whether a file has the name of a dictionary's weights in this format."""

    @abstractmethod
    def card(self, file: Path) -> Card:
        """Read what is told of a dictionary, and none of its weights.

        Args:
            file: Its weights, which need not be there yet.

        Returns:
            What its files and the names of its folders say.

        Raises:
            DictionaryError: If what is told beside the weights is missing or cannot be read.
        """

    @abstractmethod
    def read(self, file: Path, *, dtype: torch.dtype, device: torch.device) -> Dictionary:
        """Read a dictionary.

        Args:
            file: Its weights.
            dtype: The number format to convert to.
            device: Where to put it.

        Returns:
            The dictionary; it encodes and decodes as in the library it comes from.

        Raises:
            DictionaryError: If it cannot be read, contradicts itself, or is of a kind that has no
                linear decoder.
        """
