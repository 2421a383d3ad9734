"""What SAELens says of a dictionary in its ``cfg.json``, of version 6 and of those before it."""

from pathlib import Path

from backlight.dictionaries.dictionary import Card
from backlight.dictionaries.formats.places import layer_in
from backlight.dictionaries.formats.settings import Settings, read_settings
from backlight.errors import DictionaryError, quoted

CONFIG = "cfg.json"
TRANSCODERS = tuple(f"{kind}transcoder" for kind in ("", "skip_", "jumprelu_", "jumprelu_skip_"))

AUTOENCODERS = ("standard", "gated", "topk", "abstopk", "jumprelu")
_NOT_LINEAR = ("temporal", "matching_pursuit")
_OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_layer": "hook_layer",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


def settings_of(file: Path) -> Settings:
    """Read the configuration; one of before version 6 is brought into the form of 6."""
    settings = read_settings(file.parent / CONFIG)
    told = {**settings.values, **settings.section("metadata").values}
    return modernised(settings) if _is_old(told.get("sae_lens_version")) else settings


def modernised(settings: Settings) -> Settings:
    """Bring a configuration of before version 6 into the form of 6."""
    values = {_OLD_NAMES.get(name, name): value for name, value in settings.values.items()}
    values.setdefault("architecture", "standard")
    if isinstance(values.get("normalize_activations"), bool):
        scaled = values["normalize_activations"]
        values["normalize_activations"] = "expected_average_only_in" if scaled else "none"
    old = Settings(path=settings.path, values=values)
    if old.choice("activation_fn", ("relu", "topk"), otherwise="relu") == "topk":
        values["k"] = old.section("activation_fn_kwargs").size("k")
        values["architecture"] = "topk"
    values["metadata"] = {**values, **old.section("metadata").values}
    return Settings(path=settings.path, values=values)


def _is_old(version: object) -> bool:
    major = str(version or "0").partition(".")[0]
    return not major.isdigit() or int(major) < 6


def card_of(settings: Settings, file: Path) -> Card:
    """Read off the configuration what a dictionary is and where it belongs.

    Args:
        settings: The configuration, in the form of version 6.
        file: The dictionary's weights.

    Returns:
        The card.

    Raises:
        DictionaryError: If it is of a kind that backlight does not know, or cannot use.
    """
    architecture = settings.need("architecture", str)
    if architecture in _NOT_LINEAR:
        raise DictionaryError(
            f"{quoted(file.parent)} is a {architecture} dictionary, which has no linear encoder "
            "and decoder, so backlight cannot differentiate it; use one of another kind."
        )
    settings.choice("architecture", (*AUTOENCODERS, *TRANSCODERS))
    told = settings.section("metadata")
    reads = told.find("hook_name", str) or told.find("hf_hook_name", str)
    writes = reads
    if architecture in TRANSCODERS:
        writes = told.find("hook_name_out", str) or told.find("hf_hook_name_out", str)
    layer = layer_in(reads or "")
    return Card(
        format="SAELens",
        path=str(file.parent),
        architecture=architecture,
        reads=reads,
        writes=writes,
        layer=told.find("hook_layer", int) if layer is None else layer,
        model=told.find("model_name", str),
        neuronpedia=told.find("neuronpedia_id", str),
    )
