"""A list of features as Neuronpedia takes it; nothing is sent there."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from backlight.errors import ConfigError, quoted
from backlight.foreign.text import plain
from backlight.runs.files import json_text
from backlight.runs.results import Results
from backlight.surveys.driver.words.sentences import count
from backlight.tools.export.chosen import Chosen, chosen
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.source import dictionary_of
from backlight.tools.export.written import Written

_LINK = "https://www.neuronpedia.org/quick-list/"
_LONGEST = 8_000  # letters of a link that servers take


def written(options: ExportConfig, results: Results, path: Path) -> Written:
    """Write features as the body of a request to ``/api/list/new-with-features``.

    Args:
        options: What is asked.
        results: The run or the comparison.
        path: The file; the link is written beside it, with ``.link.txt`` behind its name.

    Returns:
        Both files.

    Raises:
        ConfigError: If these are no features, or nobody knows their pages.
    """
    name = plain(results.path.name if results.path else "backlight")
    features = list(_features(options, results))
    body = {
        "name": name,
        "description": f"Written by backlight export, from {name}.",
        "features": features,
    }
    link, held = _link(name, features)
    short = f"; the link has the first {held}" * (held < len(features))
    return Written(
        files={
            path: json_text(body).encode(),
            path.with_name(path.name + ".link.txt"): f"{link}\n".encode(),
        },
        told=f"{count(len(features), 'feature')}{short}",
        notes=(link,),
    )


def _features(options: ExportConfig, results: Results) -> Iterator[dict[str, str | int]]:
    for each in chosen(options, results):
        if each.kind != "feature":
            raise ConfigError("Neuronpedia has pages of features: take a run of `backlight sae`.")
        if not len(each.indices):
            continue
        model, source = _page(options, results, each)
        for place, index in enumerate(each.indices.tolist()):
            told = each.told(place)
            yield {"modelId": model, "layer": source, "index": index, "description": told}


def _page(options: ExportConfig, results: Results, each: Chosen) -> tuple[str, str]:
    told = options.neuronpedia or str(dictionary_of(results, each.layer).get("neuronpedia") or "")
    model, _, source = told.replace("{layer}", str(each.layer)).partition("/")
    if not (model and source) or "/" in source:
        raise ConfigError(
            f"Nobody says where Neuronpedia has the features of layer {each.layer}"
            f"{f' (not {quoted(told)})' if told else ''}: name it, for example --neuronpedia "
            "'gemma-2-2b/{layer}-gemmascope-mlp-16k'."
        )
    return plain(model), plain(source)


def _link(name: str, features: list[dict[str, str | int]]) -> tuple[str, int]:
    """Make a link to a quick list of the first features, as many as a link can hold."""
    shown = [
        {"modelId": each["modelId"], "layer": each["layer"], "index": str(each["index"])}
        for each in features
    ]
    held = len(shown)
    while True:
        listed = quote(json.dumps(shown[:held], separators=(",", ":")), safe="")
        link = f"{_LINK}?name={quote(name, safe='')}&features={listed}"
        if len(link) <= _LONGEST or not held:
            return link, held
        held -= 1
