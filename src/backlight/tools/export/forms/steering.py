"""How lm-eval finds a layer's dictionary, and the module that it steers."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from backlight.errors import ConfigError, quoted
from backlight.models.wiring.families import FAMILIES, Family
from backlight.runs.results import Results
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.source import dictionary_of, model_type_of, sae_path_of

_LOADERS = {"sparsify": "sparsify", "SAELens": "sae_lens", "Gemma Scope": "sae_lens"}
_SNAPSHOT = re.compile(r"/models--([^/]+)--([^/]+)/snapshots/[^/]+/?(.*)$")
_SITE = re.compile(r"layers\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where lm-eval finds a dictionary, and where it steers.

    Attributes:
        loader: The library that reads the dictionary.
        sparse_model: The repository, folder or release.
        sae_id: The dictionary in its release; empty for sparsify.
        hookpoint: The module whose output is steered; for sparsify also the dictionary's folder.
    """

    loader: str
    sparse_model: str
    sae_id: str
    hookpoint: str


def place_of(options: ExportConfig, results: Results, layer: int) -> Place:
    """Find out how lm-eval is to find a layer's dictionary.

    Args:
        options: What is asked; it wins over what the run says.
        results: A run of features, or a comparison.
        layer: The layer.

    Returns:
        What to write.

    Raises:
        ConfigError: If it cannot be known.
    """
    told = dictionary_of(results, layer)
    form, path = str(told.get("format", "")), str(told.get("path", ""))
    loader = options.loader or _LOADERS.get(form)
    if loader is None:
        raise ConfigError(
            f"lm-eval reads dictionaries with sparsify or sae_lens, and those of layer {layer} are "
            f"{form or 'of an unknown format'}. If one of the two reads them, say so: --loader "
            "sae_lens --sparse_model RELEASE --sae_id 'ID with {layer}'."
        )
    model, inside = _found(form, path)
    hookpoint = _at(options.hookpoint, layer)
    if loader == "sparsify":
        model, hookpoint = _of_sparsify(options, path, hookpoint, sae_path_of(results))
        return Place(loader=loader, sparse_model=model, sae_id="", hookpoint=hookpoint)
    model, inside = options.sparse_model or model, _at(options.sae_id, layer) or inside
    if not model or not inside:
        raise ConfigError(
            f"sae_lens finds dictionaries in its releases and on the hub, and the one of layer "
            f"{layer} is in a local folder, {quoted(path)}. Name them as it does: --sparse_model "
            "RELEASE --sae_id 'ID with {layer}'."
        )
    hookpoint = hookpoint or module_of(str(told.get("writes", "")), model_type_of(results))
    return Place(loader=loader, sparse_model=model, sae_id=inside, hookpoint=hookpoint)


def module_of(site: str, model_type: str) -> str:
    """Name the module whose output a site is, as in ``base_model.named_modules()``.

    Args:
        site: The site.
        model_type: The architecture, as Transformers calls it.

    Returns:
        The module's path in the base model.

    Raises:
        ConfigError: If the site is no module's output, or the architecture is not in the table.
    """
    match = _SITE.fullmatch(site)
    family = next((each for each in FAMILIES if model_type in each.model_types), None)
    path = None if match is None or family is None else _path(family, int(match[1]), match[2])
    if path is None:
        raise ConfigError(
            f"Nobody says which module of {quoted(model_type or 'the model')} returns "
            f"{quoted(site or 'the site')}: name it, such as --hookpoint 'layers.{{layer}}.mlp'."
        )
    return path.partition(".")[2]  # the base model is the first part


def _path(family: Family, layer: int, kind: str) -> str | None:
    if kind == "resid.pre" and layer > 0:
        return f"{family.blocks}.{layer - 1}"
    modules = {
        "resid.post": "",
        "mlp.out": f".{family.mlp_out or family.mlp_in}",
        "attn.out": f".{family.attn_out or family.attn}",
    }
    return f"{family.blocks}.{layer}{modules[kind]}" if kind in modules else None


def _found(form: str, path: str) -> tuple[str, str]:
    """Read repository and folder off the place where a dictionary from the hub was kept."""
    match = _SNAPSHOT.search(path)
    if match is None:
        return "", ""
    repository = f"{match[1]}/{match[2]}"
    # SAELens knows Gemma Scope by the name of its repository, without the owner.
    return (match[2] if form == "Gemma Scope" else repository), match[3]


def _of_sparsify(
    options: ExportConfig, path: str, hookpoint: str, sae_path: str
) -> tuple[str, str]:
    """Name the folder, or repository, and the folder in it, which is the module's name."""
    match, folder = _SNAPSHOT.search(path), PurePosixPath(path)
    if match is not None:
        return options.sparse_model or f"{match[1]}/{match[2]}", hookpoint or match[3]
    model = options.sparse_model or str(folder.parent)
    if not path and not (options.sparse_model and hookpoint):
        raise ConfigError(
            f"The run does not say where its dictionaries were ({quoted(sae_path)}): name them "
            "with --sparse_model FOLDER --hookpoint 'layers.{layer}.mlp'."
        )
    return model, hookpoint or folder.name


def _at(template: str | None, layer: int) -> str:
    return "" if template is None else template.replace("{layer}", str(layer))
