"""What each norm of a network does to the gradient of one batch: its Jacobian taken apart.

The parts come from ``decompose``; the rule by which the network learned is the rule by which the
error travels here.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backlight.decompose.norm import norm_energies
from backlight.decompose.norm_sums import sum_norm_energies
from backlight.decompose.surrogates import SURROGATES
from backlight.labs.characters.backward import module_gradients
from backlight.labs.characters.learning import Batch
from backlight.learning_rules import LocalGPT

Norm = nn.LayerNorm | nn.RMSNorm


def find_norms(model: nn.Module) -> dict[str, Norm]:
    """Find a network's norms, by their paths, in the order of the forward pass."""
    return {path: module for path, module in model.named_modules() if isinstance(module, Norm)}


def take_norms_apart(
    model: LocalGPT, rows: Batch, *, without_gain: bool
) -> dict[str, NDArray[np.float64]]:
    """Split the gradient at every norm, on one batch.

    Args:
        model: The network, with its rule.
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
    passed = module_gradients(model, rows, norms)
    parts = [_parts(norm, *passed[path], without_gain=without_gain) for path, norm in norms.items()]
    return {name: np.array([part[name] for part in parts]) for name in parts[0]}


def _parts(norm: Norm, x: Tensor, gradient: Tensor, *, without_gain: bool) -> dict[str, float]:
    """Split the gradient at one norm, in float64."""
    gain = None if without_gain else norm.weight.detach().double()
    eps = norm.eps or torch.finfo(x.dtype).eps
    is_centred = isinstance(norm, nn.LayerNorm)
    energies = norm_energies(x.double(), gradient.double(), gain, eps=eps, is_centred=is_centred)
    everywhere = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
    sums = sum_norm_energies(energies, everywhere)
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
