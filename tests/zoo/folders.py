"""Model folders and text files on disk, as a user has them, small enough for a test."""

import io
import random
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertLMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from zoo.models import VOCABULARY, tiny_model

_WORDS = [
    "light",
    "falls",
    "through",
    "every",
    "layer",
    "of",
    "the",
    "model",
    "and",
    "comes",
    "back",
    "as",
    "a",
    "gradient",
    "that",
    "says",
    "which",
    "neuron",
    "would",
    "have",
    "made",
    "the",
    "next",
    "word",
    "less",
    "of",
    "a",
    "surprise",
    "had",
    "it",
    "spoken",
    "up",
    "a",
    "little",
    "louder",
]


def lines(num: int, *, seed: int = 0) -> list[str]:
    """Make rows of text of 12 to 24 words, each longer than 50 characters."""
    words = random.Random(seed)
    return [" ".join(words.choices(_WORDS, k=words.randint(12, 24))) for _ in range(num)]


def save_tokenizer(folder: Path) -> None:
    """Save a word-level tokenizer that knows the words of ``lines``."""
    known = ["<pad>", "<s>", "</s>", "<unk>", *sorted(set(_WORDS))]
    vocabulary = {word: number for number, word in enumerate(known)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(folder)


def save_causal(folder: Path, name: str = "llama", *, nan_in: str | None = None) -> Path:
    """Save one of the tiny causal models, if asked with a NaN in one parameter."""
    torch.manual_seed(0)
    model = tiny_model(name)
    if nan_in is not None:
        with torch.no_grad():
            model.get_parameter(nan_in)[0, 0] = float("nan")
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_bert(folder: Path) -> Path:
    """Save a masked language model, whose tokens see those to their right."""
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=VOCABULARY,
    )
    BertLMHeadModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_t5(folder: Path) -> Path:
    """Save a model with an encoder and a decoder."""
    config = T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=VOCABULARY)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files under a folder, by their paths within it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def numbers(folder):
    """Read all that was measured: arrays and tables byte by byte, archives array by array."""
    found = {}
    for name, content in contents(folder).items():
        if name.endswith((".npy", ".csv")):
            found[name] = content
        elif name.endswith(".npz"):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found |= {
                    f"{name}/{key}": arrays[key].tobytes() for key in arrays if key != "metadata"
                }
    return found
