"""Random dictionaries of every kind, small enough for dense oracles."""

import json

import torch
from safetensors.torch import load_file

from backlight.dictionaries.activations import Gated, GroupMax, Relu, Threshold, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats import saelens

NUM_FEATURES = 40


def activation_named(name, num_features=NUM_FEATURES, dtype=torch.float64):
    positive = torch.rand(num_features, dtype=dtype)
    return {
        "relu": lambda: Relu(),
        "topk": lambda: TopK(k=5),
        "abstopk": lambda: TopK(k=5, by_size=True),
        "threshold": lambda: Threshold(threshold=0.5 * positive),
        "gated": lambda: Gated(
            gate_bias=positive - 0.7,
            magnitude_scale=(positive - 0.5).exp(),
            magnitude_bias=0.2 * positive,
        ),
        "groupmax": lambda: GroupMax(k=5),
    }[name]()


ACTIVATIONS = ("relu", "topk", "abstopk", "threshold", "gated", "groupmax")


def random_dictionary(
    width,
    activation="threshold",
    *,
    num_features=NUM_FEATURES,
    dtype=torch.float64,
    seed=0,
    normalization="none",
    skip=False,
    reads=None,
    writes=None,
    layer=None,
    model=None,
):
    generator = torch.Generator().manual_seed(seed)
    random = torch.get_rng_state()
    torch.manual_seed(seed)
    chosen = activation_named(activation, num_features, dtype)
    torch.set_rng_state(random)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    rows = normal(num_features, width)
    rows /= rows.norm(dim=1, keepdim=True)
    return Dictionary(
        encoder=LinearEncoder(
            rows=3 * rows + 0.1 * normal(num_features, width),
            bias=0.1 * normal(num_features),
            input_bias=0.05 * normal(width),
            activation=chosen,
        ),
        rows=rows,
        bias=0.1 * normal(width),
        skip=0.1 * normal(width, width) if skip else None,
        normalization=normalization,
        card=Card(
            format="made up",
            path="memory",
            architecture=activation,
            reads=reads,
            writes=writes or reads,
            layer=layer,
            model=model,
        ),
    )


class _Config:
    def __init__(self, told):
        self.told = told
        self.reshape_activations = told.get("reshape_activations")

    def to_dict(self):
        return dict(self.told)


class SaeLensLike:
    """``cfg.to_dict()``, ``state_dict()`` and ``encode()``, the last as the library computes."""

    def __init__(self, folder, encode):
        self.cfg = _Config(json.loads((folder / "cfg.json").read_text()))
        self.tensors = load_file(folder / "sae_weights.safetensors")
        self.encode = encode

    def state_dict(self):
        return self.tensors


def written(folder, layers=(0, 1, 2), *, width=32, kind="mlp_out", model="llama", seed=0):
    """Write a random dictionary for each layer, in SAELens' format, and return the folder."""
    for layer in layers:
        saelens.write(
            random_dictionary(width, dtype=torch.float32, seed=seed + layer),
            folder / f"layer_{layer}",
            model_name=model,
            hook_name=f"blocks.{layer}.hook_{kind}",
        )
    return folder
