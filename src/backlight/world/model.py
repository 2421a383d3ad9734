"""The small model of the city world, and the tokenizer that reads its prompts by characters.

Prompts are written with a space between tokens, ``<bos> d i s t ( c _ 0 8 6 5 , ... ) = 7 6 9
<eos>``; the spaces part the tokens and are none themselves.
"""

import string
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import logging as transformers_logging

VOCABULARY = (
    *("<pad>", "<unk>", "<bos>", "<eos>"),
    *(sign for sign in map(chr, range(ord("!"), ord("~") + 1)) if sign not in string.digits),
    *string.digits,
)
"""The 98 tokens in order: four special ones, the printable ASCII characters, digits last."""


def city_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer of the city world.

    It adds no token of its own: where a text begins and ends is written in the text.

    Returns:
        An ordinary tokenizer of Transformers with 98 tokens, one for each character.
    """
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    inner = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def new_city_model(
    seed: int,
    *,
    init_scale: float = 0.1,
    max_positions: int = 32,
    hidden_size: int = 128,
    num_layers: int = 6,
    num_heads: int = 4,
) -> Qwen2ForCausalLM:
    """Build an untrained Qwen2 for the city world, with as many keys and values as queries.

    Args:
        seed: Fixes the weights; torch's own random state is left as it was.
        init_scale: Standard deviation of all weights of linear maps and embeddings; biases are 0.
        max_positions: Tokens of the longest sequence.
        hidden_size: Width; the MLPs are four times as wide.
        num_layers: Decoder layers.
        num_heads: Attention heads.

    Returns:
        The model in float32: 1,601,920 parameters, if it has the default size.
    """
    config = Qwen2Config(
        dtype=torch.float32,
        vocab_size=len(VOCABULARY),
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=max_positions,
        initializer_range=init_scale,
        tie_word_embeddings=False,
        pad_token_id=VOCABULARY.index("<pad>"),
        bos_token_id=VOCABULARY.index("<bos>"),
        eos_token_id=VOCABULARY.index("<eos>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config)


def read_city_model(folder: Path) -> Qwen2ForCausalLM:
    """Load a model of the city world from a folder that has the files of ``pretrained_files``.

    Args:
        folder: The folder, which was written by backlight.

    Returns:
        The model in float32.
    """
    return Qwen2ForCausalLM.from_pretrained(folder, local_files_only=True).float()


def pretrained_files(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> dict[str, bytes]:
    """Return the files of a folder that ``AutoModelForCausalLM`` and ``AutoTokenizer`` load.

    Args:
        model: A model.
        tokenizer: Its tokenizer.

    Returns:
        The content of each file by its name.
    """
    transformers_logging.disable_progress_bar()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            model.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            return {file.name: file.read_bytes() for file in sorted(Path(scratch).iterdir())}
    finally:
        transformers_logging.enable_progress_bar()
