"""The rules by which gradients can go back, in words."""

from collections.abc import Mapping
from typing import Literal

from backlight.errors import UnsupportedSiteError

Rule = Literal["true", "frozen", "relp"]
"""``true``: the derivative. ``frozen``: scales of norms and attention patterns are held fixed.
``relp``: as frozen, and nonlinearities pass their output's share of their input, products half to
each factor (relevance propagation, arXiv 2508.21258)."""

MEANING: Mapping[str, str] = {
    "frozen": "scales of norms and attention patterns are held fixed",
    "relp": "scales of norms, attention patterns and act(x)/x of nonlinearities are held fixed, "
    "and products of activations give half to each factor",
}
"""What each of the other rules does, for reports."""


def note_of(rule: Rule) -> str:
    """Say in a report by which rule its gradients went back."""
    return f"gradients by the experimental rule {rule}: {MEANING[rule]}"


def told(config: Mapping[str, object]) -> list[str]:
    """Say ahead of what was found that gradients did not go back by the derivative.

    Args:
        config: The options of a run, perhaps of an earlier version.

    Returns:
        One sentence; none if they did.
    """
    rule = str(config.get("backward", "true"))
    if rule not in MEANING:
        return []
    return [f"Experimental, not the derivative: by the rule {rule}, {MEANING[rule]}."]


def beside(config: Mapping[str, object]) -> str:
    """Say behind a title by which rule gradients went back; empty if by the derivative.

    Args:
        config: The options of a run, perhaps of an earlier version.

    Returns:
        What is to be added.
    """
    rule = str(config.get("backward", "true"))
    return f", by the rule {rule}" if rule in MEANING else ""


def unproven(name: str, rule: Rule, what: str) -> UnsupportedSiteError:
    """Say that a rule does not hold for a model.

    Args:
        name: What the model is called.
        rule: The rule.
        what: What does not hold, as a whole clause.

    Returns:
        The error.
    """
    return UnsupportedSiteError(
        f"The backward rule {rule} cannot be proven for {name}: {what}. Use --backward true."
    )
