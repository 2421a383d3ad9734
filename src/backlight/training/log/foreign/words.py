"""What logs call things: the names of steps, losses, norms, learning rates and epochs."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

Field = Literal["step", "epoch", "loss", "norm", "clipped", "rate"]

FIELDS: Mapping[Field, tuple[str, ...]] = {
    "step": (
        "global_step",
        "step",
        "steps",
        "global_steps",
        "current_steps",
        "current_step",
        "step_num",
        "step_idx",
        "optimizer_step",
        "update_step",
        "update_steps",
        "opt_step",
        "gradient_step",
        "gradient_steps",
        "global_step/max_steps",
        "iteration",
        "iterations",
        "iter",
        "iters",
        "iter_num",
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
        "loss_step",
        "reduced_train_loss",
        "loss_metrics/global_avg_loss",
        "global_avg_loss",
        "lm_loss_training/lm_loss",
        "samples/train_loss",
        "loss/train",
        "loss_train",
        "loss/total",
        "loss_total",
        "loss_mean",
        "loss_avg",
        "loss/train/total",
        "total_loss",
        "avg_loss",
        "mean_loss",
        "average_loss",
        "batch_loss",
        "running_loss",
        "cross_entropy",
        "nll_loss",
        "nll",
        "mlm_loss",
        "mse_loss",
        "pg_loss",
        "policy_loss",
        "loss/policy",
        "loss/policy_avg",
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
        "grad_norm/total",
        "grad_norm/global",
        "grad_norm/all",
        "global_norm",
        "gradient_global_norm",
        "gradients_norm",
        "avg_grad_norm",
        "mean_grad_norm",
        "grad_l2_norm",
        "grad_norm_l2",
        "grad_norm_step",
        "gradnorm",
        "grad/norm",
        "grad/norm/total",
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
    "policy/",
    "ppo/",
    "data/",
    "debug/",
    "stats/",
    "perf/",
    "grads/",
    "gradients/",
)
_EVALUATION = re.compile(
    r"(?:^|metrics/)(?:eval|evaluation|val|valid|validation|test|dev)(?:[_/]|$)"
    r"|[_/](?:val|valid|validation|eval|evaluation|test|dev)$"
)
_SUMMARY = frozenset({"train_runtime", "train/train_runtime", "train_samples_per_second"})
_SPLITS = frozenset(
    {"split", "mode", "phase", "stage", "subset", "type", "kind", "event", "dataset"}
)
_FLAGS = frozenset(
    {"eval", "is_eval", "evaluation", "is_evaluation", "validation", "is_validation"}
)
_REWARDS = frozenset({"reward", "rewards", "reward_mean", "reward_std", "rlhf_reward"})
_OF_PAIRS = frozenset({"chosen", "rejected", "margins", "margin", "accuracies"})
_LONG = (("metric", "metric_name", "name", "tag", "key"), ("value", "metric_value", "val"))
_SPACE = re.compile(r"[\s\-.]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_RUN_NAME = re.compile(r"^.{1,200} - ")  # exports of the Weights & Biases page: "run - train/loss"
_RANKS: Mapping[str, tuple[Field, int]] = {
    word: (field, rank) for field, words in FIELDS.items() for rank, word in enumerate(words)
}
_LONGEST = 200  # characters of a name


def meaning(key: str) -> tuple[Field, int] | None:
    """Tell what a name stands for.

    Args:
        key: The name as the log writes it.

    Returns:
        The quantity and how good a name for it this is, 0 being the best; None for a name that is
        not understood.
    """
    return _meaning(key[:_LONGEST])


@lru_cache(maxsize=4096)
def _meaning(key: str) -> tuple[Field, int] | None:
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


def is_reward(key: str) -> bool:
    """Tell whether a name is that of a reward that a policy earns: its loss measures no error.

    Args:
        key: The name as the log writes it.

    Returns:
        Whether it is; rewards of pairs of answers (``rewards/chosen``) are not.
    """
    parts = _plain(key).split("/")
    return not _REWARDS.isdisjoint(parts) and _OF_PAIRS.isdisjoint(parts)


def split_of(key: str) -> bool:
    """Tell whether a name says which part of the data a line is about: ``mode``, ``is_eval``."""
    return _plain(key) in _SPLITS | _FLAGS


def long_pair(keys: Sequence[str]) -> tuple[str, str] | None:
    """Find the two names of rows that hold one quantity each, such as ``metric`` and ``value``.

    Args:
        keys: The names of a row.

    Returns:
        What names the quantity, and what holds its number; None if rows are not of this kind.
    """
    plain = {_plain(key): key for key in keys}
    names, values = ([plain[word] for word in words if word in plain] for words in _LONG)
    return (names[0], values[0]) if names and values else None


def _plain(key: str) -> str:
    """Give a name in small letters, with underscores, without the name of a run before it."""
    return _shortened(key[:_LONGEST].strip())


@lru_cache(maxsize=4096)
def _shortened(key: str) -> str:
    return _SPACE.sub("_", _CAMEL.sub("_", _RUN_NAME.sub("", key).strip()).casefold())
