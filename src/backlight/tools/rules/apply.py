"""Learning rules and norm surrogates for models of the table of families, without naming modules.

``backlight.learning_rules`` takes plain data: paths of modules, forms of norms, types of linear
maps. For a Transformers model of the table these are known, and filled in here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from backlight import learning_rules
from backlight.learning_rules import Applied
from backlight.learning_rules.direct import DirectScale, ErrorPlace
from backlight.learning_rules.feedback import Scale
from backlight.learning_rules.linear import WeightLayout
from backlight.learning_rules.norms import Gain, NormBackward
from backlight.learning_rules.rules import Rule
from backlight.models.families import Family, find_family
from backlight.models.layout import sites_of
from backlight.models.subject import Subject
from backlight.surveys.flow.measure.norm_places import norm_forms


def apply_rule(
    model: nn.Module | Subject,
    rule: Rule | str,
    *,
    scale: Scale | DirectScale | str | None = None,
    linear_types: Mapping[type[nn.Module], WeightLayout] | None = None,
    leave: Sequence[str] = (),
    feedback_points: Sequence[str] | None = None,
    head: str | None = None,
    error: ErrorPlace | str = "before_head",
    shared: bool = True,
    generator: torch.Generator | None = None,
) -> Applied:
    """Let a model send its error back by a rule. What it computes forward stays as it is.

    ``with apply_rule(model, "fa"): ...`` restores the model at the end. Matrices of the way back
    are buffers: saved, loaded and moved with the model.

    Args:
        model: Any module, or a subject. It is changed at once.
        rule: ``bp``, ``fa`` (feedback alignment), ``dfa`` (direct feedback alignment),
            ``sign_uniform`` or ``sign_random`` (the signs of the weights, times one number or
            times fixed random magnitudes).
        scale: How large the matrices are: ``forward`` (default: the standard deviation of the
            weights as they are now), ``xavier`` or ``kaiming``; for ``dfa`` ``width`` (default),
            ``xavier`` or ``kaiming``.
        linear_types: Types of linear maps beside ``nn.Linear``, exactly, and how they keep their
            weights, ``out_in`` or ``in_out``. None: Transformers' ``Conv1D`` (GPT-2) is known.
        leave: Patterns of paths of modules that backpropagate, with all that is in them.
        feedback_points: For ``dfa``, the paths of the modules whose outputs get the error. None:
            every block of a model of the table of families, and of ``LocalGPT`` its own.
        head: For ``dfa``, the path of the vocabulary projection. None: that of the table.
        error: For ``dfa``, where the error is taken: ``before_head`` or ``after_head``.
        shared: For ``dfa``, all points read the same matrix.
        generator: Where randomness comes from; None for PyTorch's own.

    Returns:
        What undoes it.

    Raises:
        ConfigError: If a name is unknown, there is no linear map, or some weights are in none.
    """
    module = _module(model)
    family = _family(module)
    if feedback_points is None:
        feedback_points = () if rule != "dfa" else _blocks(module, family)
    return learning_rules.apply_rule(
        module,
        rule,
        scale=scale,
        linear_types=_conv1d(module) if linear_types is None else linear_types,
        leave=leave,
        feedback_points=feedback_points,
        head=head or ("lm_head" if family is None else family.head),
        error=error,
        shared=shared,
        generator=generator,
    )


def surrogate_norm(
    model: nn.Module | Subject,
    kind: NormBackward | str,
    *,
    norms: Mapping[str, tuple[bool, Gain | str | None, float]] | None = None,
) -> Applied:
    """Replace the backward of a model's norms. What they compute forward stays as it is.

    Args:
        model: Any module, or a subject. It is changed at once, until ``restore`` or the end of a
            ``with`` block.
        kind: ``true`` (as it is), ``center_scale``, ``scale``, ``projected``, ``identity`` or
            ``radial_only``.
        norms: Which modules are norms over the last axis, and of which form: whether they centre,
            what they multiply by last (``weight``, ``one_plus_weight`` or None), and eps. None:
            all norms of the blocks of a model of the table of families, and the last one (not
            BLOOM's norm of the embedding); else every ``nn.LayerNorm`` and ``nn.RMSNorm``.

    Returns:
        What undoes it.

    Raises:
        ConfigError: If there is no such kind, module or form, or no norm, or a norm of which the
            form is not known.
        UnsupportedSiteError: If a norm of a model of the table is of a class that cannot be read.
    """
    module = _module(model)
    family = _family(module)
    if norms is None and family is not None:
        norms = norm_forms(module, family, sites_of(family, module.config))
    return learning_rules.surrogate_norm(module, kind, norms=norms)


def _module(model: nn.Module | Subject) -> nn.Module:
    return model.model if isinstance(model, Subject) else model


def _family(module: nn.Module) -> Family | None:
    config = getattr(module, "config", None)
    return find_family(config) if hasattr(config, "model_type") else None


def _blocks(module: nn.Module, family: Family | None) -> Sequence[str]:
    if family is not None:
        config: Any = module.config
        return [f"{family.blocks}.{index}" for index in range(config.num_hidden_layers)]
    return module.feedback_points() if isinstance(module, learning_rules.LocalGPT) else ()


def _conv1d(module: nn.Module) -> dict[type[nn.Module], WeightLayout]:
    """Find Transformers' linear map that keeps its weights the other way round, if it is there."""
    kinds = {type(part) for part in module.modules()}
    home = "transformers.pytorch_utils"
    return {
        kind: "in_out" for kind in kinds if (kind.__module__, kind.__name__) == (home, "Conv1D")
    }
