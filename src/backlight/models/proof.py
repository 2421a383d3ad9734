"""Proof that what the table of architectures says is true of the model at hand.

A wrong entry would give wrong numbers without a sign of it, so every model is probed when it is
loaded: all sites must pass, once, with their stated width, in their stated order; the residual
stream must add up; norms must compute what they are said to; the head must give the model's own
logits; and no token may see another to its right, since backlight pads on the right and gives no
mask.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from backlight.errors import FamilyProofError, ModelError
from backlight.models.lending import borrowed
from backlight.models.norms import NormPlace
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.models.taps import per_token, tapping

_POSITIONS = 11  # a prime, so that it is not taken for a number of heads
_SHARED = 6
_IN_ORDER = ("resid.pre", "attn.in", "attn.z", "attn.out", "resid.mid", "mlp.out", "resid.post")
_FAINT = 1e-3  # root mean square: of the size of the root of what norms add under the root
_REPORT = "Please report it with the model's name."


def probe_tokens(subject: Subject, vocabulary: int) -> Tensor:
    """Make two short sequences that are equal in their first six tokens, then differ."""
    # Steps of 7, so that in a vocabulary of any size in use no token comes twice in a sequence: a
    # repeated one could hide a model that mixes up its positions.
    tokens = torch.arange(2 * _POSITIONS).reshape(2, _POSITIONS) * 7 + 3
    tokens[1, :_SHARED] = tokens[0, :_SHARED]
    return (tokens % vocabulary).to(subject.device)


@torch.no_grad()
def prove_causal(subject: Subject, tokens: Tensor) -> None:
    """Check that a token's output does not depend on what stands to its right.

    Args:
        subject: The model.
        tokens: Two sequences from ``probe_tokens``.

    Raises:
        ModelError: If it does.
    """
    # The two sequences share their beginning only, so in a causal model that is all that it reads
    # there; a model that looks ahead sees their different ends.
    with borrowed(subject.model):
        output = subject.forward(tokens)[:, :_SHARED]
    if not is_close(output[0], output[1]):
        raise ModelError(
            f"{subject.name} is not a causal language model: a token's output changes with the "
            "tokens to its right. backlight measures the next-token loss of causal models."
        )


@torch.no_grad()
def prove_head(subject: Subject, tokens: Tensor, logits_of: Callable[[Tensor], Tensor]) -> None:
    """Check that the head, as numbers, gives the model's own logits.

    Args:
        subject: The model, with its head.
        tokens: Some sequences.
        logits_of: From token ids to the model's own logits.

    Raises:
        FamilyProofError: If the logits differ.
    """
    assert subject.head is not None
    with borrowed(subject.model):
        own = logits_of(tokens)
        ours = subject.head.logits(subject.forward(tokens))
    if not is_close(ours, own):
        raise FamilyProofError(
            f"The head of {subject.name} is not what the table of architectures says: logits "
            f"differ by {(ours - own).abs().max():.3g} of {own.abs().max():.3g}. {_REPORT}"
        )


@torch.no_grad()
def prove_sites(subject: Subject, tokens: Tensor, norms: Sequence[NormPlace] = ()) -> None:
    """Check that every site passes once, in order, with its width, and that the residuals add up.

    Args:
        subject: The model.
        tokens: Some sequences.
        norms: Its norms, whose formulas must give what they give.

    Raises:
        FamilyProofError: If one of this is not so.
    """
    sites = [site for site in subject.sites.values() if site.tap.side != "logits"]
    seen = _see(
        subject, list({s.name: s for s in (*sites, *(n.entry for n in norms))}.values()), tokens
    )
    for site in sites:
        if site.name not in seen:
            raise _broken(subject, f"{site.name} ({site.tap.module}) never passes")
        if seen[site.name].shape[-1] != site.width:
            found = seen[site.name].shape[-1]
            raise _broken(subject, f"{site.name} is {found} wide, not {site.width}")
    _prove_order(subject, list(seen))
    for layer in range(subject.num_layers):
        _prove_residuals(subject, f"layers.{layer}.", seen)
    for layer in range(1, subject.num_layers):
        before, after = f"layers.{layer - 1}.resid.post", f"layers.{layer}.resid.pre"
        if not is_close(seen[before], seen[after]):
            raise _broken(subject, f"{before} is not {after}")
    for norm in norms:
        _prove_norm(subject, norm, seen)


def prove_no_norm_forgotten(subject: Subject, unnamed: Sequence[str]) -> None:
    """Check that every norm in the blocks has a site.

    Args:
        subject: The model.
        unnamed: The paths of norms without one.

    Raises:
        FamilyProofError: If there are any.
    """
    if unnamed:
        raise _broken(subject, f"it does not name {unnamed[0]}, a norm")


def _prove_norm(subject: Subject, norm: NormPlace, seen: Mapping[str, Tensor]) -> None:
    """Check the formula of a norm, on what it was given and on rows so small that eps shows.

    Args:
        subject: The model.
        norm: One of its norms.
        seen: The tensors of all sites.

    Raises:
        FamilyProofError: If it gives something else.
    """
    given, gave = seen[norm.entry.name], seen[norm.out.name]
    pairs = [(given, gave)]
    if norm.num_heads is None:
        faint = given[:, :1] * (_FAINT / given[:, :1].double().square().mean(-1, True).sqrt())
        faint = faint.to(given.dtype)
        pairs.append((faint, subject.model.get_submodule(norm.out.tap.module)(faint)))
    for x, y in pairs:
        if not is_close(norm.apply(x).to(y.dtype), y):
            kind = "layer norm" if norm.is_centred else "RMS norm"
            raise _broken(
                subject,
                f"{norm.out.name} is not what a {kind} with eps {norm.eps:g} gives of "
                f"{norm.entry.name}",
            )


def _see(subject: Subject, sites: Sequence[Site], tokens: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def visit(site: Site, tensor: Tensor) -> Tensor:
        if site.name in seen:
            raise _broken(subject, f"{site.name} passes twice")
        if tensor.dim() == 4 and tensor.shape[site.tap.axes[1]] != tokens.shape[1]:
            raise _broken(subject, f"{site.name} has its heads on another axis")
        # The product is a copy: some blocks add in place into what a tap has shown.
        seen[site.name] = per_token(site, tensor * site.tap.multiplier, tokens.shape)
        return tensor

    with tapping(subject, sites, visit):
        subject.forward(tokens)
    return seen


def _prove_order(subject: Subject, passed: Sequence[str]) -> None:
    """Check that layers follow each other and that, in each, attention comes before the MLP."""
    place = {name: index for index, name in enumerate(passed)}
    for layer in range(subject.num_layers):
        own = [f"layers.{layer}.{kind}" for kind in _IN_ORDER]
        chain = [f"layers.{layer - 1}.resid.post"] if layer else ["embed.out"]
        chain += [name for name in own if name in place]
        for before, after in pairwise(chain):
            if place[before] > place[after]:
                raise _broken(subject, f"{after} passes before {before}")


def _prove_residuals(subject: Subject, prefix: str, seen: Mapping[str, Tensor]) -> None:
    """Check that what the halves are said to contribute is what the stream gains in this layer.

    That is the strongest of the proofs: a wrong module, a forgotten multiplier or norm, and another
    wiring all break the sum, whatever the weights are.

    Args:
        subject: The model.
        prefix: The beginning of the layer's sites.
        seen: The tensors of all sites.

    Raises:
        FamilyProofError: If a sum does not hold.
    """
    pre, post = seen[f"{prefix}resid.pre"], seen[f"{prefix}resid.post"]
    attention, mlp = seen[f"{prefix}attn.contribution"], seen[f"{prefix}mlp.contribution"]
    if subject.wiring == "parallel":
        # A sequential block adds up in the same way; but here the MLP must not see attention.
        own_norm = f"{prefix}norm2.in" in seen
        entry = seen[f"{prefix}norm2.in"] if own_norm else seen[f"{prefix}mlp.in"]
        source = pre if own_norm else seen[f"{prefix}norm1.out"]
        sums = [
            (pre + attention + mlp, post, "resid.pre + both contributions"),
            (entry, source, "what the MLP reads"),
        ]
    else:
        middle = seen[f"{prefix}resid.mid"]
        is_post_norm = subject.wiring == "post_norm"
        after_attention = seen[f"{prefix}norm1.in"] if is_post_norm else middle
        after_mlp = seen[f"{prefix}norm2.in"] if is_post_norm else post
        sums = [
            (pre + attention, after_attention, "resid.pre + attn.contribution"),
            (middle + mlp, after_mlp, "resid.mid + mlp.contribution"),
        ]
    for found, expected, what in sums:
        if not is_close(found, expected):
            raise _broken(subject, f"in {prefix[:-1]}, {what} does not add up")


def is_close(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are the same but for rounding, as a proof takes it."""
    # Relative to the largest number of all, not to each: a sum of large numbers may cancel to a
    # small one, whose own digits are then rounding. Wrong entries miss by about the whole.
    tolerance = max(16 * torch.finfo(expected.dtype).eps, 1e-4)
    if expected.dtype == torch.float64:
        tolerance = 1e-5
    # NaN in the weights does not disprove anything; the run will say where it begins.
    unknown = ~found.isfinite() & ~expected.isfinite()
    found, expected = found.masked_fill(unknown, 0.0), expected.masked_fill(unknown, 0.0)
    scale = expected.abs().max()
    return bool((found - expected).abs().max() <= tolerance * scale)


def _broken(subject: Subject, what: str) -> FamilyProofError:
    return FamilyProofError(
        f"The table of architectures does not hold for {subject.name}: {what}. {_REPORT}"
    )
