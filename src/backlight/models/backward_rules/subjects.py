"""Subjects whose gradients go back by another rule than the derivative."""

from collections.abc import Mapping
from dataclasses import replace

from backlight.errors import ModelError
from backlight.models.backward_rules.places import BEHIND_THE_PATTERN, places_of
from backlight.models.backward_rules.proof import prove_rule
from backlight.models.backward_rules.rule import Rule, note_of
from backlight.models.backward_rules.running import Running
from backlight.models.lending import Lent
from backlight.models.sites import Site, kind_of
from backlight.models.subject import Subject
from backlight.models.versions import require


def rule_of(subject: Subject) -> str:
    """Name the rule by which a subject's gradients go back."""
    return subject.facts.get("backward", "true")


def with_backward(subject: Subject, rule: Rule) -> Subject:
    """Let the gradients of a model go back by another rule than the derivative; experimental.

    The forward pass stays the model's own, bit for bit. The rule is proven on this very model:
    at every norm, attention and gate; and what is held fixed says so where it is asked for.

    Args:
        subject: The model, from ``load_subject`` or ``subject_from_transformers``.
        rule: ``frozen``: scales of norms and attention patterns are held fixed. ``relp``: also
            act(x)/x of nonlinearities, and products of activations give half to each factor.
            ``true``: the derivative, so the subject itself.

    Returns:
        A subject of the same model. Reports, pages and manifests of its runs name the rule.

    Raises:
        ModelError: If the subject is under another rule already, or torch is too old.
        UnsupportedSiteError: If the rule cannot be proven for this architecture.

    Example:
        >>> import backlight
        >>> from tokenizers import Tokenizer, models
        >>> from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
        >>> words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
        >>> sizes = {"n_embd": 8, "n_head": 2, "n_layer": 2, "vocab_size": 3}
        >>> model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))
        >>> subject = backlight.subject_from_transformers(model, tokenizer, name="tiny")
        >>> backlight.with_backward(subject, "frozen").facts["backward"]
        'frozen'
    """
    now = rule_of(subject)
    if now == rule:
        return subject
    if now != "true":
        raise ModelError(
            f"The gradients of {subject.name} go back by the rule {now} already; give the subject "
            f"that with_backward was given, to have them by {rule}."
        )
    running = Running(subject=subject, rule=rule, places=places_of(subject))
    under_rule = replace(
        subject,
        forward=Lent(subject.model, running),
        sites=_without_pattern(subject.sites, rule),
        facts={**subject.facts, "backward": rule, "note": _note(subject.facts, rule)},
    )
    require("2.5", f"The rule {rule}", "torch")  # the proof goes back from within a graph
    prove_rule(subject, under_rule, rule, running.places)
    return under_rule


def _note(facts: Mapping[str, str], rule: Rule) -> str:
    before = (facts["note"],) if "note" in facts else ()
    return "; ".join((*before, note_of(rule)))


def _without_pattern(sites: Mapping[str, Site], rule: Rule) -> dict[str, Site]:
    """Refuse the sites whose gradient would be zero because of the rule and nothing else."""
    return {
        name: replace(site, problem=_held(name, rule))
        if kind_of(name) in BEHIND_THE_PATTERN
        else site
        for name, site in sites.items()
    }


def _held(name: str, rule: Rule) -> str:
    return (
        f"{name} acts through the attention pattern alone, which the rule {rule} holds fixed, so "
        "no gradient comes back to it: a zero would be the rule's, not the model's. Use "
        "--backward true."
    )
