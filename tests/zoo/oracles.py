"""Feature gradients the long way: hooks, whole passes, features as leaves."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Oracle:
    """Per passage: features and their gradients, ``[kept tokens, features]``.

    ``sizes`` are of each feature's term of the reconstruction, over the block's output.
    """

    features: list
    gradients: list
    nats: float
    sizes: list


def explicit(subject, passages, dictionary, path, splice, stride):
    """Hooks, whole passes, one passage at a time, features as leaves."""
    module = subject.model.get_submodule(path)
    block = subject.model.get_submodule(path.rpartition(".")[0])
    found = Oracle([], [], 0.0, [])
    counted = passages.counted or [np.ones(len(tokens), dtype=bool) for tokens in passages.tokens]
    for tokens, counts in zip(passages.tokens, counted, strict=True):
        leaves = {}

        def hook(module, inputs, output, leaves=leaves):
            x = output[0, ::stride].detach()
            features = dictionary.encode(x).dense().requires_grad_()
            scale, shift = torch.ones(len(x), 1, dtype=x.dtype), 0.0
            if dictionary.normalization == "constant_norm":
                scale = x.norm(dim=1, keepdim=True) / x.shape[1] ** 0.5
            if dictionary.normalization == "layer_norm":
                scale, shift = x.std(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)
            recon = (features @ dictionary.rows + dictionary.bias) * scale + shift
            if dictionary.skip is not None:
                recon = recon + x @ dictionary.skip.T
            leaves["features"] = features
            leaves["terms"] = features.detach().abs() * dictionary.rows.norm(dim=1) * scale
            if splice == "error":
                recon = recon + (x - recon).detach()
            spliced = output.detach().clone()
            spliced[0, ::stride] = recon
            return spliced

        def keep(block, inputs, output, leaves=leaves):
            stream = output[0] if isinstance(output, tuple) else output
            leaves["lengths"] = stream.detach().reshape(-1, stream.shape[-1]).norm(dim=1)

        handle, other = module.register_forward_hook(hook), block.register_forward_hook(keep)
        ids = torch.from_numpy(tokens)[None]
        logits = subject.model(input_ids=ids, use_cache=False).logits[0, :-1]
        handle.remove()
        other.remove()
        targets = torch.where(torch.from_numpy(counts), ids[0], -100)[1:]
        total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        loss = total / counts[1:].sum().item()
        (gradient,) = torch.autograd.grad(loss, leaves["features"])
        found.features.append(leaves["features"].detach().double().numpy())
        found.gradients.append(gradient.double().numpy())
        found.nats += float(total.detach())
        sizes = leaves["terms"] / leaves["lengths"][::stride, None]
        found.sizes.append(sizes.double().numpy())
    return found


def relative_error(found, expected):
    """Return the largest difference, relative to the largest value expected."""
    return float((found - expected).abs().max() / expected.abs().max())
