"""What logs call things: the names of steps, losses, norms, learning rates and epochs."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

__all__ = ["FIELDS", "Field", "is_evaluation", "is_summary", "meaning", "split_of"]

Field = Literal["step", "epoch", "loss", "norm", "clipped", "rate"]

FIELDS: Mapping[Field, tuple[str, ...]] = {
    "step": (
        "global_step",
        "step",
        "steps",
        "current_steps",
        "optimizer_step",
        "update_step",
        "update_steps",
        "global_step/max_steps",
        "iteration",
        "iterations",
        "iter",
        "iters",
        "it",
        "itr",
        "n_iter",
        "num_updates",
        "n_updates",
        "_step",
    ),
    "epoch": ("epoch", "epochs"),
    "loss": (
        "loss",
        "lm_loss",
        "ce_loss",
        "cross_entropy_loss",
        "crossentropyloss",
        "loss_step",
        "reduced_train_loss",
        "loss_metrics/global_avg_loss",
        "global_avg_loss",
        "lm_loss_training/lm_loss",
        "samples/train_loss",
        "loss/train",
        "loss_train",
        "loss/train/total",
        "total_loss",
        "avg_loss",
        "mean_loss",
        "average_loss",
        "batch_loss",
        "running_loss",
        "cross_entropy",
        "crossentropy",
        "nll_loss",
        "pg_loss",
        "policy_loss",
        "loss_epoch",
    ),
    "norm": (
        "grad_norm",
        "gradient_norm",
        "gnorm",
        "total_norm",
        "total_grad_norm",
        "global_grad_norm",
        "grad_norm_total",
        "grad_norm_step",
        "gradnorm",
        "grad/norm",
        "gradient/norm",
        "gradients/norm",
        "grad_2_0_norm_total",
        "grad_2_norm_total",
        "grad_norm_pre_clip",
        "grad_norm_before_clip",
        "raw_grad_norm",
        "unclipped_grad_norm",
        "l2_norm/grad/global",
        "grads_norm",
        "norm",
    ),
    "clipped": (
        "clipped_norm",
        "clipped_grad_norm",
        "grad_norm_clipped",
        "grad_norm_post_clip",
        "grad_norm_after_clip",
    ),
    "rate": (
        "learning_rate",
        "lr",
        "lr_step",
        "samples/lr",
        "learning_rate_group0",
        "lr_group0",
        "lr_0",
        "learning_rate/default",
        "lr_adamw",
        "lr_adam",
        "lr_sgd",
        "lr_adamw/pg1",
        "lr_adam/pg1",
        "lr_sgd/pg1",
    ),
}
"""The names of each quantity, the best first; as ``_plain`` writes them, without ``train/``."""

_PREFIXES = (
    "train/",
    "train_",
    "training/",
    "training_",
    "trainer/",
    "metrics/",
    "optim/",
    "optimizer/",
    "actor/",
    "data/",
)
_EVALUATION = re.compile(
    r"(?:^|metrics/)(?:eval|evaluation|val|valid|validation|test|dev)(?:[_/]|$)"
    r"|[_/](?:val|valid|validation|eval|evaluation|test|dev)$"
)
_SUMMARY = frozenset({"train_runtime", "train/train_runtime", "train_samples_per_second"})
_SPLITS = frozenset({"split", "mode", "phase", "stage", "subset"})
_SPACE = re.compile(r"[\s\-.]+")
_RUN_NAME = re.compile(r"^.{1,200} - ")  # exports of the Weights & Biases page: "run - train/loss"
_RANKS: Mapping[str, tuple[Field, int]] = {
    word: (field, rank) for field, words in FIELDS.items() for rank, word in enumerate(words)
}
_LONGEST = 200  # characters of a name


@lru_cache(maxsize=4096)
def meaning(key: str) -> tuple[Field, int] | None:
    """Tell what a name stands for.

    Args:
        key: The name as the log writes it.

    Returns:
        The quantity and how good a name for it this is, 0 being the best; None for a name that is
        not understood.
    """
    word = _plain(key)
    for stripped in range(3):
        if word in _RANKS:
            field, rank = _RANKS[word]
            return field, 3 * rank + stripped
        prefix = next((each for each in _PREFIXES if word.startswith(each)), None)
        if prefix is None:
            return None
        word = word.removeprefix(prefix)
    return None


def is_evaluation(key: str) -> bool:
    """Tell whether a name is that of something measured on held-out data."""
    return _EVALUATION.search(_plain(key)) is not None


def is_summary(key: str) -> bool:
    """Tell whether a name occurs only in the line with which a trainer sums up the whole run."""
    return _plain(key) in _SUMMARY


def split_of(key: str) -> bool:
    """Tell whether a name says which part of the data a line is about, such as ``mode``."""
    return _plain(key) in _SPLITS


@lru_cache(maxsize=4096)
def _plain(key: str) -> str:
    """Give a name in small letters, with underscores, without the name of a run before it."""
    key = key[:_LONGEST].strip()
    return _SPACE.sub("_", _RUN_NAME.sub("", key).strip().casefold())
