"""A model that is in memory as a subject, whichever library holds it."""

from transformers import PreTrainedModel

from backlight.errors import ModelError
from backlight.models.loading.hook_points import subject_from_hooked
from backlight.models.loading.objects import (
    TAKEN,
    kind_of_object,
    library_of,
    module_of,
    own_tokenizer,
)
from backlight.models.loading.subjects import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.models.subject import Subject, Tokenizer, check_tokenizer


def subject_from_object(
    given: object, tokenizer: Tokenizer | None = None, *, name: str | None = None
) -> Subject:
    """Put a model that is in memory under the light, whichever library holds it.

    Calls that take ``subject=`` take such an object as it is, if it has a tokenizer of its own.

    Args:
        given: A ``HookedTransformer`` or a ``TransformerBridge`` of TransformerLens; a
            ``LanguageModel`` of nnsight, whose weights are loaded now if they are not yet; a model
            of Transformers, also wrapped; any other module; or a subject, which is returned.
        tokenizer: Its tokenizer; by default the one that the object has.
        name: What reports should call it; by default as its library does.

    Returns:
        The proven subject.

    Raises:
        ModelError: If it is none of these, has no tokenizer, or does not hold what is proven.

    Example:
        >>> import backlight
        >>> from tokenizers import Tokenizer, models
        >>> from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
        >>> words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
        >>> sizes = {"n_embd": 8, "n_head": 2, "n_layer": 2, "vocab_size": 3}
        >>> model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))
        >>> backlight.subject_from_object(model, tokenizer, name="tiny").num_layers
        2
    """
    if isinstance(given, Subject):
        if tokenizer is not None or name is not None:
            raise ModelError("A subject has its tokenizer and its name already: leave them out.")
        return given
    model = module_of(given)
    if tokenizer is None:
        tokenizer = own_tokenizer(given)
    if tokenizer is None:
        raise ModelError(
            f"{kind_of_object(given)} has no tokenizer, so no text can be read with it. {TAKEN}."
        )
    check_tokenizer(tokenizer)
    if library_of(given) == "TransformerLens":
        return subject_from_hooked(model, tokenizer, name=name)
    if any(isinstance(part, PreTrainedModel) for part in model.modules()):
        return subject_from_transformers(model, tokenizer, name=name)
    return subject_from_module(model, tokenizer, name=name or type(model).__name__)


def subject_of(given: object) -> Subject | None:
    """Read what a caller gave as ``subject=``; None if that is nothing.

    Args:
        given: A subject, an object that ``subject_from_object`` takes by itself, or None.

    Returns:
        The subject.
    """
    return None if given is None else subject_from_object(given)
