"""Where the threshold of the warning index comes from: about 120 units of SmolLM2, set to zero.

    python benchmarks/warning_threshold.py [--passages 8] [--length 48] [--seed 0]

Dimensions, heads, features and whole outputs, half of them the largest by prediction, half drawn at
random. Each is set to zero by plain hooks, and the loss read off the model's own logits. A
prediction is wrong if its sign is, or if it is more than 50 % off. Printed: each kind's share of
wrong predictions, the area under the curve of the index, and the share of right and of wrong
predictions above each of some thresholds. The threshold in ``backlight.stats.first_order`` is the
one with the best balanced accuracy, rounded.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import backlight
from backlight.models.subject import Subject
from backlight.stats.first_order import LIKELY_WRONG_ABOVE, warning_index

LAYERS, PER_KIND = (0, 3, 7, 11, 15, 19, 23, 27, 29), {"dimension": 40, "head": 32, "site": 30}
FEATURES, HEADS, HEAD_WIDTH = 24, 9, 64


@dataclass(frozen=True)
class Unit:
    """Something that is set to zero."""

    kind: str
    name: str
    module: str
    is_input: bool
    zeroed: Callable[[Tensor], Tensor]
    relative_size: float
    predicted: float


def main() -> None:
    words = _arguments()
    subject = backlight.load_subject("smollm2", device="cpu", dtype="float32")
    tokens = _tokens(subject, words.text, words.passages, words.length)
    kept, streams = _plain_pass(subject.model, tokens)
    drawing = np.random.default_rng(words.seed)
    units = [*_dimensions(kept, streams, drawing), *_heads(subject, kept, streams, drawing)]
    units += [*_sites(kept, streams), *_features(kept, streams, drawing)]
    before = _loss(subject.model, tokens).mean().item()
    true = np.array([_ablated(subject.model, tokens, unit) - before for unit in units])
    _report(units, true)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=8)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", type=Path, required=True, help="a text file, paragraph by line")
    return parser.parse_args()


def _tokens(subject: Subject, path: Path, number: int, length: int) -> Tensor:
    rows: list[list[int]] = []
    for line in path.read_text().splitlines():
        ids = subject.tokenizer(line, truncation=True, max_length=length)["input_ids"]
        if len(ids) == length:
            rows.append(ids)
        if len(rows) == number:
            break
    return torch.tensor(rows)


def _loss(model: nn.Module, tokens: Tensor) -> Tensor:
    """Compute each passage's mean loss from the model's own logits."""
    logits = model(tokens).logits[:, :-1]
    losses = nn.functional.cross_entropy(logits.mT, tokens[:, 1:], reduction="none")
    return losses.double().mean(dim=1)


def _plain_pass(
    model: nn.Module, tokens: Tensor
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Keep activation and gradient at outputs and heads, and the stream's norms."""
    model.requires_grad_(requires_grad=False)
    held: dict[str, Tensor] = {}
    streams: dict[str, Tensor] = {}
    handles = []
    for layer, block in enumerate(model.model.layers):

        def keep(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                del module
                tensor = inputs[0] if name.endswith("z") else output
                tensor = tensor[0] if isinstance(tensor, tuple) else tensor
                tensor.retain_grad()
                held[name] = tensor

            return hook

        def length(name: str, at_input: bool) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                del module
                tensor = inputs[0] if at_input else output
                tensor = tensor[0] if isinstance(tensor, tuple) else tensor
                streams[name] = tensor.detach().norm(dim=-1)

            return hook

        handles += [
            block.mlp.register_forward_hook(keep(f"{layer}.mlp")),
            block.self_attn.register_forward_hook(keep(f"{layer}.attn")),
            block.self_attn.o_proj.register_forward_hook(keep(f"{layer}.z")),
            block.post_attention_layernorm.register_forward_hook(length(f"{layer}.attn", True)),
            block.register_forward_hook(length(f"{layer}.mlp", False)),
        ]
    embedded = model.get_input_embeddings()(tokens).requires_grad_()
    logits = model(inputs_embeds=embedded).logits[:, :-1]
    loss = nn.functional.cross_entropy(logits.mT, tokens[:, 1:], reduction="none").mean()
    loss.backward()  # all passages are of one length, so this is the mean over passages
    for handle in handles:
        handle.remove()
    kept = {name: (tensor.detach(), tensor.grad) for name, tensor in held.items()}
    return kept, streams  # type: ignore[return-value]


def _chosen(sizes: np.ndarray, number: int, drawing: np.random.Generator) -> Sequence[int]:
    largest = np.argsort(-sizes)[: number // 2]
    rest = np.setdiff1d(np.arange(len(sizes)), largest)
    return [*largest.tolist(), *drawing.choice(rest, number - len(largest), replace=False)]


def _dimensions(kept, streams, drawing):
    found = []
    for layer in LAYERS:
        x, grad = kept[f"{layer}.mlp"]
        products = (x * grad).sum(dim=(0, 1)).double().numpy()
        sizes = (x.abs() / streams[f"{layer}.mlp"][..., None]).mean(dim=(0, 1)).double().numpy()
        for index in _chosen(np.abs(products), -(-PER_KIND["dimension"] // len(LAYERS)), drawing):
            found.append(  # noqa: PERF401 - a unit a line reads better than a comprehension
                Unit(
                    "dimension",
                    f"{layer}.{index}",
                    f"model.layers.{layer}.mlp",
                    False,
                    _without(index),
                    sizes[index],
                    -products[index],
                )
            )
    return found


def _without(index: int) -> Callable[[Tensor], Tensor]:
    def zeroed(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[..., index] = 0
        return tensor

    return zeroed


def _heads(subject, kept, streams, drawing):
    places = [(layer, head) for layer in range(30) for head in range(HEADS)]
    products = np.array(
        [
            (_part(kept[f"{layer}.z"][0], head) * _part(kept[f"{layer}.z"][1], head)).sum().item()
            for layer, head in places
        ]
    )
    found = []
    for place in _chosen(np.abs(products), PER_KIND["head"], drawing):
        layer, head = places[place]
        weight = subject.model.model.layers[layer].self_attn.o_proj.weight
        part = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
        change = (_part(kept[f"{layer}.z"][0], head) @ weight[:, part].T).norm(dim=-1)
        found.append(
            Unit(
                "head",
                f"{layer}.{head}",
                f"model.layers.{layer}.self_attn.o_proj",
                True,
                _without_part(part),
                (change / streams[f"{layer}.attn"]).mean().item(),
                -products[place],
            )
        )
    return found


def _part(tensor: Tensor, head: int) -> Tensor:
    return tensor[..., head * HEAD_WIDTH : (head + 1) * HEAD_WIDTH]


def _without_part(part: slice) -> Callable[[Tensor], Tensor]:
    def zeroed(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[..., part] = 0
        return tensor

    return zeroed


def _sites(kept, streams):
    found = []
    for layer in range(0, 30, 2):
        for half, module in (("mlp", "mlp"), ("attn", "self_attn")):
            x, grad = kept[f"{layer}.{half}"]
            found.append(
                Unit(
                    "site",
                    f"{layer}.{half}",
                    f"model.layers.{layer}.{module}",
                    False,
                    torch.zeros_like,
                    (x.norm(dim=-1) / streams[f"{layer}.{half}"]).mean().item(),
                    -(x * grad).sum().item(),
                )
            )
    return found


def _features(kept, streams, drawing):
    x, grad = kept["15.mlp"]
    sae = backlight.read_dictionary("smollm2", dtype=torch.float32, device=torch.device("cpu"))
    codes = sae.encode(x.reshape(-1, x.shape[-1])).dense()
    slopes = grad.reshape(-1, x.shape[-1]) @ sae.rows.T
    products = (codes * slopes).sum(dim=0).double().numpy()
    norms = sae.rows.norm(dim=1)
    sizes = (codes.abs() * norms / streams["15.mlp"].reshape(-1, 1)).mean(dim=0).double().numpy()
    alive = np.flatnonzero(sizes > 0)
    found = []
    for place in _chosen(np.abs(products[alive]), FEATURES, drawing):
        feature = int(alive[place])
        term = (codes[:, feature : feature + 1] * sae.rows[feature]).reshape(x.shape)
        found.append(
            Unit(
                "feature",
                f"15.{feature}",
                "model.layers.15.mlp",
                False,
                lambda tensor, term=term: tensor - term,
                sizes[feature],
                -products[feature],
            )
        )
    return found


@torch.no_grad()
def _ablated(model: nn.Module, tokens: Tensor, unit: Unit) -> float:
    module = model.get_submodule(unit.module)
    if unit.is_input:
        handle = module.register_forward_pre_hook(lambda _, given: (unit.zeroed(given[0]),))
    else:
        handle = module.register_forward_hook(
            lambda _, __, output: (
                (unit.zeroed(output[0]), *output[1:])
                if isinstance(output, tuple)
                else unit.zeroed(output)
            )
        )
    loss = _loss(model, tokens).mean().item()
    handle.remove()
    return loss


def _report(units: Sequence[Unit], true: np.ndarray) -> None:
    predicted = np.array([unit.predicted for unit in units])
    sizes = np.array([unit.relative_size for unit in units])
    kinds = np.array([unit.kind for unit in units])
    wrong = (np.sign(predicted) != np.sign(true)) | (np.abs(predicted - true) > 0.5 * np.abs(true))
    index = warning_index(sizes, predicted)
    for kind in dict.fromkeys(kinds.tolist()):
        own = kinds == kind
        told = " ".join(f"{q:.3g}" for q in np.quantile(index[own], [0.1, 0.5, 0.9]))
        print(
            f"{kind:10} n {own.sum():3}  wrong {wrong[own].mean():.2f}  index (10, 50, 90 %) {told}"
        )
        pearson = np.corrcoef(predicted[own], true[own])[0, 1]
        print(f"{'':10} AUC {_area(index[own], wrong[own]):.2f}  Pearson {pearson:.2f}")
    print(f"all: n {len(units)}  wrong {wrong.mean():.2f}  AUC {_area(index, wrong):.3f}")
    print(f"by relative size alone: AUC {_area(sizes, wrong):.3f}")
    for threshold in (*np.geomspace(0.003, 3, 13), LIKELY_WRONG_ABOVE):
        above = index > threshold
        found, false = above[wrong].mean(), above[~wrong].mean()
        print(
            f"above {threshold:8.4f}: of wrong {found:.2f}, of right {false:.2f}, balanced "
            f"accuracy {(found + 1 - false) / 2:.3f}"
        )


def _area(index: np.ndarray, wrong: np.ndarray) -> float:
    if wrong.all() or not wrong.any():
        return float("nan")
    bad, good = index[wrong][:, None], index[~wrong]
    return float(((bad > good) + 0.5 * (bad == good)).mean())


if __name__ == "__main__":
    main()
