"""Names of places in a model, as the libraries write them, turned into ones that backlight reads.

Nothing is guessed: what cannot be turned for certain becomes None.
"""

import re

_NUMBER = re.compile(r"(?<![^.])(\d+)(?![^.])")
_LABEL = re.compile(
    r"(?P<kind>mlp_out|attn_out|resid_pre|resid_mid|resid_post)_layer_(?P<layer>\d+)"
)
_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
_MLPS = ("mlp", "feed_forward", "ffn", "block_sparse_moe")
_ATTENTIONS = ("self_attn", "attn", "attention", "self_attention")


def layer_in(name: str) -> int | None:
    """Find the number of the layer in the name of a site or a module."""
    match = _NUMBER.search(name)
    return int(match[1]) if match else None


def module_path(name: str) -> str | None:
    """Write the path of a module with dots alone: ``model.layers[3].mlp`` has brackets.

    Args:
        name: The path, as nnsight or Transformers write it.

    Returns:
        The path, or None if this is none, or one that belongs to no layer.
    """
    path = re.sub(r"\[(\d+)\]", r".\1", name).lstrip(".")
    return path if _PATH.fullmatch(path) and layer_in(path) is not None else None


def input_of(path: str) -> str | None:
    """Name the input of a module, where backlight has a site for it.

    Args:
        path: The module's path.

    Returns:
        The site.
    """
    match = _NUMBER.search(path)
    if match is None:
        return None
    inside, layer = path[match.end() + 1 :], int(match[1])
    if not inside:
        return f"layers.{layer}.resid.pre"
    if inside in _MLPS:
        return f"layers.{layer}.mlp.in"
    if inside in _ATTENTIONS:
        return f"layers.{layer}.attn.in"
    outward = [f"{attention}.{last}" for attention in _ATTENTIONS for last in ("o_proj", "dense")]
    return f"layers.{layer}.attn.z" if inside in outward else None


def tensor_of_label(label: str) -> str | None:
    """Read a label such as ``mlp_out_layer_3`` or ``resid_post_layer_3``."""
    match = _LABEL.fullmatch(label)
    if match is None:
        return None
    return f"layers.{match['layer']}.{match['kind'].replace('_', '.')}"
