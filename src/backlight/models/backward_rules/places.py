"""Where in a model a rule acts: its norms, its MLPs and their nonlinearities."""

from dataclasses import dataclass

from torch import nn

from backlight.errors import UnsupportedSiteError
from backlight.models.backward_rules.functions import NormForm
from backlight.models.norms import norm_forms
from backlight.models.sites import Site, kind_of
from backlight.models.subject import Subject
from backlight.models.wiring.families import Family, family_of

_NONLINEAR = ("torch.nn.modules.activation", "transformers.activations")
BEHIND_THE_PATTERN = ("attn.q", "attn.k", "attn.q_norm", "attn.k_norm")
"""Kinds of sites that act through the attention pattern alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The modules of a model that a rule changes the way back of.

    Attributes:
        norms: The norms of the stream, with what each computes. Those of queries and keys act
            through the attention pattern alone, which no gradient passes.
        nonlinearities: The modules in the blocks that apply a function element by element.
        mlps: The modules that hold a layer's MLP, in which activations may be multiplied.
    """

    norms: tuple[tuple[nn.Module, NormForm], ...]
    nonlinearities: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]


def places_of(subject: Subject) -> Places:
    """Find where a rule acts in a model of the table of families.

    Args:
        subject: The model.

    Returns:
        Its places.

    Raises:
        UnsupportedSiteError: If it is not known which modules are norms, or if q and k cannot be
            told apart from the rest of attention.
    """
    family = family_of(subject.model)
    if family is None or not subject.num_layers:
        raise UnsupportedSiteError(
            f"{subject.name} ({type(subject.model).__name__}) is not in the table of "
            "architectures, so it is not known which of its modules are norms and attention, and "
            "no backward rule can be proven for it. Use --backward true."
        )
    if not family.attn_interface:
        raise UnsupportedSiteError(
            f"The attention of {subject.name} ({type(subject.model).__name__}) does not go "
            "through Transformers' attention interface, so its pattern cannot be held fixed. Use "
            "--backward true."
        )
    model, layers = subject.model, range(subject.num_layers)
    blocks = [model.get_submodule(f"{family.blocks}.{layer}") for layer in layers]
    return Places(
        norms=_norms(model, family, subject),
        nonlinearities=tuple(dict.fromkeys(each for block in blocks for each in _acts(block))),
        mlps=tuple(block.get_submodule(family.mlp_in) for block in blocks),
    )


def _norms(
    model: nn.Module, family: Family, subject: Subject
) -> tuple[tuple[nn.Module, NormForm], ...]:
    sites: list[Site] = [
        site for site in subject.sites.values() if kind_of(site.name) not in BEHIND_THE_PATTERN
    ]
    found: list[tuple[nn.Module, NormForm]] = []
    for path, (is_centred, gain, eps) in norm_forms(model, family, sites).items():
        form = NormForm(is_centred=is_centred, gain=gain, eps=eps)
        found.append((model.get_submodule(path), form))
    return tuple(found)


def _acts(block: nn.Module) -> list[nn.Module]:
    return [each for each in block.modules() if type(each).__module__ in _NONLINEAR]
