"""What the tests of several libraries share."""

import sys
import tempfile

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast


def loaded_tokenizer(vocabulary=99):
    """Save a tokenizer of words and load it: libraries load it anew from where it came from."""
    words = {f"w{number}": number for number in range(vocabulary - 2)}
    words |= {"<s>": vocabulary - 2, "?": vocabulary - 1}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "?", "bos_token": "<s>", "eos_token": "<s>", "pad_token": "<s>"}
    folder = tempfile.mkdtemp()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def tell(text):
    """Say a number that a test found; `pytest -s` shows it."""
    sys.stdout.write(f"{text}\n")
