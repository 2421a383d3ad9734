"""Healthy trainings that look unlike each other: architectures, sizes, optimizers, schedules."""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from zoo.small_training import Training, cosine, local_training, transformers_training


def scheduled(training: Training, *, clip: float | None = None) -> Training:
    """Lower the learning rate along a cosine, and clip the gradient if asked."""
    training.rate, training.clip = cosine(training.num_steps), clip
    return training


def _momentum(parameters: object, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def _clipped(seed: int) -> Training:
    return scheduled(local_training(seed, num_steps=200), clip=1.0)


def _decayed(seed: int) -> Training:
    return scheduled(transformers_training(seed, num_steps=200), clip=0.5)


HEALTHY: Mapping[str, Callable[[int], Training]] = {
    "local": local_training,
    "local, two layers": partial(local_training, n_layer=2),
    "local, eight layers": partial(local_training, n_layer=8),
    "local, sixteen layers": partial(local_training, n_layer=16, n_embd=16, n_head=2),
    "local, wide": partial(local_training, n_embd=96, learning_rate=1e-3),
    "local, RMSNorm, no biases": partial(local_training, norm="rmsnorm", bias=False),
    "local, tied head": partial(local_training, tied_head=True, learning_rate=1e-3),
    "local, dropout": partial(local_training, dropout=0.2),
    "local, sigmoid attention": partial(local_training, attn_mode="sigmoid"),
    "local, post-norm with warm-up": partial(
        local_training, norm_placement="post", learning_rate=1e-3, warm_up=40
    ),
    "local, no warm-up": partial(local_training, warm_up=0, learning_rate=1e-3),
    "local, clipped, cosine": _clipped,
    "local, momentum": partial(local_training, optimizer=_momentum, learning_rate=0.3),
    "local, long": partial(local_training, num_steps=400, batch_size=4),
    "llama": transformers_training,
    "llama, two layers": partial(transformers_training, num_hidden_layers=2),
    "llama, ten layers": partial(transformers_training, num_hidden_layers=10),
    "llama, wide": partial(transformers_training, hidden_size=96, intermediate_size=256),
    "llama, clipped, cosine": _decayed,
    "qwen2, biases of keys": partial(transformers_training, kind="qwen2"),
}
"""Twenty kinds by name; each takes a seed."""
