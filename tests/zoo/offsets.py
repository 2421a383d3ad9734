"""Tokenizers of Transformers that tell where their tokens stand, made in memory."""

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

_TEXT = (
    "The capital of France is Paris, that of Peru is Lima; who is in the (old) city by the sea? "
    "When Mary and John went to the shop at 10:30, John gave 25 apples to Mary. über naïve 😀 日本"
)


def byte_tokenizer(*, trims: bool = False) -> PreTrainedTokenizerFast:
    """One token for each byte of UTF-8; ``trims`` leaves spaces out of the offsets."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = {sign: number for number, sign in enumerate(["<s>", "</s>", *alphabet])}
    return _byte_level(Tokenizer(models.BPE(known, [])), trims)


def bpe_tokenizer(*, trims: bool = False, merges: int = 200) -> PreTrainedTokenizerFast:
    """A byte-level BPE with merges such as `` Paris``, like that of GPT-2; digits are single."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), _bytes()]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=258 + merges,
        initial_alphabet=alphabet,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
    )
    inner.train_from_iterator([_TEXT] * 3, trainer)
    return _byte_level(inner, trims)


def metaspace_tokenizer(*, prepends: str = "normalizer") -> PreTrainedTokenizerFast:
    """Like SentencePiece: a ``▁`` for each space and one before the text, ``<s>`` and ``</s>``."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    if prepends == "normalizer":
        inner.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        # Words are merged one by one, so that no token ends with a space.
        inner.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[^▁]+|▁"), "isolated")
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    inner.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=[chr(code) for code in range(33, 127)],
        show_progress=False,
    )
    inner.train_from_iterator([_TEXT] * 3, trainer)
    return add_ends(_wrapped(inner))


def add_ends(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Make a tokenizer put ``<s>`` before a text and ``</s>`` behind it."""
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    around = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    inner = tokenizer.backend_tokenizer
    before = inner.post_processor
    inner.post_processor = around if before is None else processors.Sequence([before, around])
    return tokenizer


def _bytes() -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _byte_level(inner: Tokenizer, trims: bool) -> PreTrainedTokenizerFast:
    if inner.pre_tokenizer is None:
        inner.pre_tokenizer = _bytes()
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=trims)
    return _wrapped(inner)


def _wrapped(inner: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )
