"""The card of a trained dictionary: what it is, how it was made, and how good it is."""

from backlight.foreign.text import markdown, plain
from backlight.models.subject import Subject
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.trained import TrainedDictionary

_LICENCES = {
    "smollm2": "SmolLM2-135M-Instruct is published under Apache-2.0.",
    "shakespeare": "The plays are in the public domain.",
}


def command_of(config: TrainSaeConfig) -> str:
    """Write the command that trains the same dictionary.

    Args:
        config: The options.

    Returns:
        The command, with the options that are not as they are by default.
    """
    words = ["backlight train-sae"]
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value != field.default and name not in ("output_dir", "overwrite"):
            words.append(f"--{name}" if value is True else f"--{name} {value}")
    return " ".join(words)


def card_of(trained: TrainedDictionary, config: TrainSaeConfig, subject: Subject) -> str:
    """Write the card.

    Args:
        trained: The dictionary.
        config: The options it was trained with.
        subject: The model it was trained for.

    Returns:
        The text, in Markdown.
    """
    quality, recovery = trained.quality, trained.recovery
    num_features, width = trained.dictionary.rows.shape
    name, text = markdown(subject.name), markdown(config.dataset)
    model = f"{name} ({subject.facts['note']})" if "note" in subject.facts else name
    corpus = trained.origin["corpus"]
    known = [_LICENCES[name] for name in (config.model_name, config.dataset) if name in _LICENCES]
    licences = " ".join(
        ["The weights were learned from activations of that model on that text.", *known]
    )
    return f"""# {num_features} features of {trained.site.name} of {name}

A sparse autoencoder of {width} dimensions, a BatchTopK dictionary (Bussmann et al. 2024, arXiv
2412.06410) with one threshold: a feature fires where its pre-activation is above it. The rows of
the decoder have norm 1. Weights: {config.save_dtype}.

- model: {model}
- site: `{trained.site.name}` (Transformers `{trained.site.transformers}`, TransformerLens
  `{trained.site.transformer_lens}`)
- text: {text}, {corpus["num_tokens"]:,} tokens in passages of at most {config.max_length}
  tokens, special tokens as the tokenizer sets them
- held out, to be measured on: the last {corpus["num_held_out_tokens"]:,} of these tokens
- left out of the training: the first token of each passage
- made by: `{plain(command_of(config)).replace("`", "?")}`

| on the held-out text | |
| --- | --- |
| explained variance | {quality.explained_variance:.3f} |
| the same, with the first token of each passage | {quality.explained_variance_with_first:.3f} |
| features that fire at a token (L0) | {quality.l0:.1f} |
| features that fire at none of {quality.num_tokens:,} tokens | {100 * quality.dead_share:.1f} % |
| loss recovered | {recovery.share:.3f} |

Explained variance is 1 - sum |x - reconstruction|^2 / sum |x - mean x|^2. Loss recovered is (zero -
spliced) / (zero - clean): on {recovery.num_tokens:,} predicted tokens the loss is
{recovery.clean:.3f} nats per token as the model is, {recovery.spliced:.3f} with the reconstruction
in the site's place, {recovery.zeroed:.3f} with zeros.

{licences}
"""
