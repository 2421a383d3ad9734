"""A pretrained tokenizer that reads text as its files say."""

import logging
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from backlight.foreign.files import MEGABYTE
from backlight.models.loading.reading import telling
from backlight.models.loading.source import Source, read_object

_logger = logging.getLogger(__name__)
_PROBE = "Once upon a time, 12.5 naïve cats' purring\n\n\tended:  if (x != y) { 日本 } …"
_AS_WRITTEN = ("TokenizersBackend", "PreTrainedTokenizerFast")


def read_tokenizer(source: Source) -> tuple[Any, dict[str, str]]:
    """Read a model's tokenizer.

    Transformers builds the tokenizer of some architectures anew, from the words alone, even where
    ``tokenizer.json`` splits text in another way. Where the files say that ``tokenizer.json`` is
    to be taken as it is, it is; where they name a class that reads otherwise, that is told.

    Args:
        source: The model.

    Returns:
        The tokenizer, and what reports should say of it.

    Raises:
        ModelError: If there is none, or it cannot be read.
    """
    with telling(f"The tokenizer of {source.failed}", unfetched=source.unfetched):
        tokenizer: Any = AutoTokenizer.from_pretrained(source.path, **source.options)
        path = source.find("tokenizer.json")
        if path is None or _reads_alike(tokenizer, path):
            return tokenizer, {}
        if _declared(source) in _AS_WRITTEN:
            plain = PreTrainedTokenizerFast.from_pretrained(
                source.path, revision=source.options["revision"]
            )
            if _reads_alike(plain, path):
                return plain, {}
    kind = type(tokenizer).__name__
    _logger.warning(
        "Transformers takes the tokenizer of %s for a %s, which reads text otherwise than its "
        "tokenizer.json does: see tokenizer_class in its tokenizer_config.json.",
        source.name,
        kind,
    )
    return tokenizer, {"tokenizer": f"{kind}, which reads text otherwise than tokenizer.json"}


def _declared(source: Source) -> object:
    path = source.find("tokenizer_config.json")
    return None if path is None else read_object(path, most=16 * MEGABYTE).get("tokenizer_class")


def _reads_alike(tokenizer: Any, path: Path) -> bool:
    """Compare a tokenizer with the file, on a text and on words of its own."""
    raw = Tokenizer.from_file(str(path))
    raw.no_truncation()
    raw.no_padding()
    size = raw.get_vocab_size()
    words = raw.decode(list(range(0, size, max(1, size // 50))))
    return all(
        raw.encode(text, add_special_tokens=False).ids
        == list(tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in (_PROBE, words)
    )
