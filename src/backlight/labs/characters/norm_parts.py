"""What each norm of a network does to the gradient of one batch: its Jacobian taken apart.

The gradients come from the same one pass as everywhere (``capture.record``), the parts from
``decompose``; the rule by which the network learned is the rule by which the error travels here.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from backlight.capture.record import record
from backlight.data.batches import Batch
from backlight.data.characters import Characters
from backlight.decompose.norm import NormEnergies, norm_energies
from backlight.decompose.norm_sums import sum_norm_energies
from backlight.decompose.surrogates import SURROGATES
from backlight.labs.characters.learning import Batch as Rows
from backlight.learning_rules import LocalGPT
from backlight.models.head import Head
from backlight.models.sites import Site, Tap
from backlight.models.subject import Subject
from backlight.objectives.objective import LossGradient


def find_norms(model: nn.Module) -> dict[str, nn.LayerNorm | nn.RMSNorm]:
    """Give a network's norms by their paths, in the order of the forward pass."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.LayerNorm | nn.RMSNorm)
    }


def take_norms_apart(
    model: LocalGPT, text: Characters, rows: Rows, *, without_gain: bool
) -> dict[str, NDArray[np.float64]]:
    """Split the gradient at every norm, on one batch.

    The model is frozen and put in evaluation mode.

    Args:
        model: The network, with its rule.
        text: What it has learned.
        rows: What is read, and what comes next.
        without_gain: Leave each norm's gain out: the gradient behind it is taken for the one
            before it, which is exact only for gains of 1.

    Returns:
        Columns with one number for each norm: ``r_mean`` and ``r_radial``, energies over energies;
        ``sigma_mean`` and ``sigma_std`` over tokens; ``cosine_{surrogate}`` with the true gradient,
        the mean over tokens; ``cosine_center_scale_to_identity``; ``length_{surrogate}``, over the
        true gradient's.
    """
    norms = find_norms(model)
    paths = list(norms)
    subject = _subject(model, text, paths)
    tokens, targets = rows
    batch = Batch(
        passages=tuple(range(len(tokens))),
        input_ids=tokens,
        lengths=torch.full((len(tokens),), tokens.shape[1], device=tokens.device),
    )
    entries = [f"{path}.in" for path in paths]
    tape = record(
        subject,
        batch,
        list(subject.sites.values()),
        objective=_Targets(targets),
        keep_activations=entries,
    )
    parts = [
        _numbers(
            _energies(
                norm,
                tape.activations[f"{path}.in"],
                tape.gradients[f"{path}.out"],
                without_gain=without_gain,
            ),
            batch,
        )
        for path, norm in norms.items()
    ]
    return {name: np.array([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, slots=True)
class _Targets:
    """The mean cross-entropy of predicting given targets, differentiated at the logits."""

    targets: Tensor

    def __call__(
        self, output: Float[Tensor, "batch positions width"], batch: Batch, head: Head | None
    ) -> LossGradient:
        del batch, head
        logits = output.detach().requires_grad_()
        losses = functional.cross_entropy(
            logits.flatten(0, 1), self.targets.flatten(), reduction="none"
        ).view(self.targets.shape)
        (gradient,) = torch.autograd.grad(losses.mean(), logits)
        nats = losses.detach().double().sum(dim=1).cpu()
        return LossGradient(nats=nats, value=nats / losses.numel(), gradient=gradient)


def _subject(model: LocalGPT, text: Characters, paths: list[str]) -> Subject:
    sites = [
        Site(
            name=f"{path}.{'in' if side == 'branch' else 'out'}",
            tap=Tap(module=path, side=side),
            width=model.config.n_embd,
            transformers=None,
        )
        for path in paths
        for side in ("branch", "output")
    ]
    return Subject(
        name=f"LocalGPT ({model.config.method}, {model.config.attn_mode})",
        model=model,
        tokenizer=text,
        forward=lambda tokens: model(tokens)[0],
        sites={site.name: site for site in sites},
        num_layers=model.config.n_layer,
        facts={},
    )


def _energies(
    norm: nn.LayerNorm | nn.RMSNorm, x: Tensor, grad: Tensor, *, without_gain: bool
) -> NormEnergies:
    gain = None if without_gain else norm.weight.detach().double()
    return norm_energies(
        x.double(),
        grad.double(),
        gain,
        eps=norm.eps or torch.finfo(x.dtype).eps,
        is_centred=isinstance(norm, nn.LayerNorm),
    )


def _numbers(energies: NormEnergies, batch: Batch) -> dict[str, float]:
    sums = sum_norm_energies(energies, batch.valid)
    cosines = zip(SURROGATES, sums.mean_cosine.tolist(), strict=True)
    lengths = zip(SURROGATES, sums.norm_ratio.tolist(), strict=True)
    return {
        "r_mean": sums.r_mean.item(),
        "r_radial": sums.r_radial.item(),
        "sigma_mean": sums.sigma_mean.item(),
        "sigma_std": sums.sigma_std.item(),
        **{f"cosine_{name}": value for name, value in cosines},
        "cosine_center_scale_to_identity": (1 - energies.r_mean).sqrt().nanmean().item(),
        **{f"length_{name}": value for name, value in lengths},
    }
