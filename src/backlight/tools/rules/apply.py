"""Learning rules and norm surrogates for models of the table of families, without naming modules.

``backlight.learning_rules`` takes plain data: paths of modules, forms of norms, types of linear
maps. For a Transformers model of the table these are known, and filled in here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from backlight import learning_rules
from backlight.learning_rules import Applied, DirectFeedback
from backlight.learning_rules.linear import WeightLayout
from backlight.learning_rules.norms import Gain, NormBackward
from backlight.learning_rules.rules import Rule
from backlight.models.loading.linear import transposed_types
from backlight.models.norms import norm_forms
from backlight.models.subject import Subject
from backlight.models.wiring.families import family_of
from backlight.models.wiring.layout import block_paths, sites_of


def apply_rule(
    model: nn.Module | Subject,
    rule: Rule | str,
    *,
    linear_types: Mapping[type[nn.Module], WeightLayout] | None = None,
    feedback_points: Sequence[str] | None = None,
    head: str | None = None,
    **options: Any,
) -> Applied:
    """Make a model send its error back by a rule. What it computes forward stays as it is.

    ``with apply_rule(model, "fa"): ...`` restores the model at the end. Matrices of the way back
    are buffers: saved, loaded and moved with the model.

    Args:
        model: Any module, or a subject. It is changed at once.
        rule: ``bp``, ``fa`` (feedback alignment), ``dfa`` (direct feedback alignment),
            ``sign_uniform`` or ``sign_random`` (the signs of the weights, times one number or
            times fixed random magnitudes).
        linear_types: Types of linear maps beside ``nn.Linear``, exactly, and how they keep their
            weights, ``out_in`` or ``in_out``. None: Transformers' ``Conv1D`` (GPT-2) is known.
        feedback_points: For ``dfa``, the paths of the modules whose outputs get the error. None:
            every block of a model of the table of families, and of ``LocalGPT`` its own.
        head: For ``dfa``, the path of the vocabulary projection. None: that of the table.
        **options: More of ``backlight.learning_rules.apply_rule``. ``scale``: how large the
            matrices are, ``forward`` (default: the standard deviation of the weights as they are
            now), ``xavier`` or ``kaiming``; for ``dfa`` ``width`` (default), ``xavier`` or
            ``kaiming``. ``leave``: patterns of paths of modules that backpropagate, with all that
            is in them. ``error``: for ``dfa``, where the error is taken, ``before_head`` (default)
            or ``after_head``. ``shared``: for ``dfa``, all points read the same matrix (default
            True). ``generator``: where randomness comes from; by default PyTorch's own.

    Returns:
        What undoes it.

    Raises:
        ConfigError: If a name is unknown, there is no linear map, or some weights are in none.

    Example:
        >>> import torch
        >>> import backlight
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
        ... )
        >>> with backlight.apply_rule(model, "fa") as applied:
        ...     model(torch.randn(3, 4)).sum().backward()
        ...     print(applied.paths)
        ('0', '2')
    """
    module = model.model if isinstance(model, Subject) else model
    family = family_of(module)
    if feedback_points is None:
        feedback_points = _blocks(module) if rule == "dfa" else ()
    direct = DirectFeedback(
        points=feedback_points,
        head=head or ("lm_head" if family is None else family.head),
        **{name: options.pop(name) for name in ("error", "shared") if name in options},
    )
    return learning_rules.apply_rule(
        module,
        rule,
        linear_types=transposed_types(module) if linear_types is None else linear_types,
        direct=direct,
        **options,
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

    Example:
        >>> import torch
        >>> import backlight
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8))
        >>> with backlight.surrogate_norm(model, "center_scale") as applied:
        ...     model(torch.randn(3, 4)).square().sum().backward()
        ...     print(applied.paths)
        ('1',)
    """
    module = model.model if isinstance(model, Subject) else model
    family = family_of(module)
    if norms is None and family is not None:
        norms = norm_forms(module, family, sites_of(family, module.config))
    return learning_rules.surrogate_norm(module, kind, norms=norms)


def _blocks(module: nn.Module) -> Sequence[str]:
    family = family_of(module)
    if family is not None:
        return block_paths(family, module.config)
    return module.feedback_points() if isinstance(module, learning_rules.LocalGPT) else ()
