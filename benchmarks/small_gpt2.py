"""A GPT-2-like model trained on the shipped plays: what holds for one architecture, on another.

    python benchmarks/small_gpt2.py FOLDER [--steps 1500]

Six layers of width 128 with four heads (layer norms, biases, learned positions, GELU, tied
embeddings, as GPT-2), and 2,048 byte-pair tokens made from the same text. The last tenth of the
text is not trained on; its loss is printed. 1,500 steps take about ten minutes on two cores.
"""

import argparse
import gzip
from importlib.resources import files
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

_CONTEXT, _BATCH, _WARM_UP = 128, 16, 100


def text() -> str:
    """Read the shipped plays."""
    packed = files("backlight.data").joinpath("shakespeare_plays.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii")


def tokenizer_of(plays: str) -> PreTrainedTokenizerFast:
    """Make byte-pair tokens of a text."""
    bytes_pairs = ByteLevelBPETokenizer()
    bytes_pairs.train_from_iterator([plays], vocab_size=2048, special_tokens=["<|endoftext|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_pairs._tokenizer, eos_token="<|endoftext|>"
    )


def train(tokens: Tensor, held_out: Tensor, *, steps: int) -> GPT2LMHeadModel:
    """Train a model, and print the loss on what it has not seen."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=2048,
        n_positions=_CONTEXT,
        n_embd=128,
        n_layer=6,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / _WARM_UP, 1.0) * (1 - step / steps)
    )
    for step in range(steps):
        starts = torch.randint(len(tokens) - _CONTEXT, (_BATCH,))
        batch = torch.stack([tokens[start : start + _CONTEXT] for start in starts])
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: {loss.item():.3f}, held out {_loss(model, held_out):.3f}")
    return model


@torch.no_grad()
def _loss(model: GPT2LMHeadModel, held_out: Tensor) -> float:
    rows = held_out[: 32 * _CONTEXT].reshape(32, _CONTEXT)
    return model(rows, labels=rows).loss.item()


def main() -> None:
    """Train the model and write it into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    asked = parser.parse_args()
    plays = text()
    tokenizer = tokenizer_of(plays)
    tokens = torch.tensor(tokenizer(plays)["input_ids"])
    end = len(tokens) * 9 // 10
    model = train(tokens[:end], tokens[end:], steps=asked.steps).eval()
    model.save_pretrained(asked.folder)
    tokenizer.save_pretrained(asked.folder)
    print(f"{model.num_parameters():,} parameters, {len(tokens):,} tokens: {asked.folder}")


if __name__ == "__main__":
    main()
