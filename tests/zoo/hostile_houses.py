"""Models, texts and dictionaries whose every token and name is an attack on the page that shows it.

Each house has its own kind of attack, and all that a survey needs to make a run of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from backlight.dictionaries.formats import saelens
from zoo.dictionaries import random_dictionary
from zoo.models import tiny_model

__all__ = ["ATTACKS", "House", "build"]

_RUN = "alert(1)"

ATTACKS: Mapping[str, Sequence[str]] = {
    "markup": (
        f"<img src=x onerror={_RUN}>",
        f"<img/src=x/onerror={_RUN}>",
        f"</script><script>{_RUN}</script>",
        f"<script>{_RUN}</script>",
        f"<svg/onload={_RUN}>",
        f"<iframe srcdoc='<script>parent.{_RUN}</script>'></iframe>",
        f"<details open ontoggle={_RUN}>",
        "<!--",
        "-->",
        "<!--<script>",
        "]]>",
        "<![CDATA[",
        "</textarea></title></style></noscript></template>",
        "<style>*{display:none}</style>",
        "<base href=http://127.0.0.1:9/>",
        "<meta http-equiv=refresh content=0;url=http://127.0.0.1:9/>",
        "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
        "<plaintext>",
    ),
    "quotes": (
        f'"onmouseover={_RUN}//',
        f"'onfocus={_RUN} autofocus='",
        f'"><b onclick={_RUN}>',
        f"${{{_RUN}}}",
        f"`${{{_RUN}}}`",
        f"{{{{{_RUN}}}}}",
        f"'+{_RUN}+'",
        f'\\"+{_RUN}//',
        "\\",
        "\\u003cb\\u003e",
        "\\x3cb\\x3e",
        "&lt;b&gt;",
        "&amp;quot;",
        "&#60;img&#62;",
        "*/",
        "//",
        "{thing}",
        "%s%n",
        "$\\frac$",
        "@import'http://127.0.0.1:9/x'",
        "url(http://127.0.0.1:9/y)",
    ),
    "links": (
        f"javascript:{_RUN}",
        f"JaVaScRiPt:{_RUN}//",
        f"data:text/html,<script>{_RUN}</script>",
        f"vbscript:{_RUN}",
        "http://127.0.0.1:9/z",
        "//127.0.0.1:9/z",
        "file:///etc/hostname",
        f"[a](javascript:{_RUN})",
        f"<a href=javascript:{_RUN}>a</a>",
        "?q=1&amp=2#h",
        "../../../x",
        "blob:null",
        "mailto:a@b",
        "=HYPERLINK('http://127.0.0.1:9')",
        "@SUM(A1)",
        "+1+1",
    ),
    "unseen": (
        "\u202egnirts",
        "\u2066inside\u2069",
        "\u200fmark",
        "zero\u200bwidth",
        "\ufeffmark",
        "\x1b[2J",
        "\x1b]0;owned\x07",
        "\x9b31m",
        "\x08\x7f",
        "line\u2028break",
        "paragraph\u2029break",
        "e" + "\u0301" * 40,
        "\ufffd",
        "\ufffe",
        "\U000e0041tag",
        "tab\tbed",
        "no\u00a0break",
        "\u3164",
        "\u0600",
        "مرحبا",
        "שלום",
        "中文",
        "\U0001f469\u200d\U0001f52c",
    ),
    "odd": (
        "W" * 10_000,
        "漢" * 300,
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "toString",
        "length",
        "undefined",
        "null",
        "NaN",
        "Infinity",
        "-0",
        "1e999",
        "true",
        "0",
        "#",
        ".",
        "«»",
        "layer",
        "x" * 300,
    ),
}
"""Tokens by the name of their house."""

_LONG = 1000  # letters of a token
_LONGEST_NAME = 60  # of a folder or file, so that paths stay possible ones
_ALSO = ("a", "b", "is")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What a survey is given.

    Attributes:
        tokens: The attacks, each a token of the model.
        model: The folder of the model.
        text: The file of the text.
        dictionaries: The folder of a dictionary of layer 1.
        places: A folder for runs.
    """

    tokens: Sequence[str]
    model: Path
    text: Path
    dictionaries: Path
    places: Path


def build(name: str, folder: Path) -> House:
    """Write the model, the text and the dictionary of a house.

    Args:
        name: Which of ``ATTACKS``.
        folder: An empty folder for all of it.
    """
    tokens = ATTACKS[name]
    label = _as_name(" ".join(tokens))
    house = House(
        tokens=tokens,
        model=folder / f"{label} model",
        text=folder / f"{label}.txt",
        dictionaries=folder / f"{label} sae",
        places=folder / "runs",
    )
    torch.manual_seed(0)
    tiny_model("llama").save_pretrained(house.model)
    _tokenizer(tokens).save_pretrained(house.model)
    house.text.write_text("\n".join(_rows(tokens)), encoding="utf-8", newline="\n")
    saelens.write(
        random_dictionary(32, dtype=torch.float32),
        house.dictionaries / "layer_1",
        model_name=tokens[0],
        hook_name="blocks.1.hook_mlp_out",
        notes={"neuronpedia_id": tokens[0], "note": tokens[1]},
    )
    house.places.mkdir()
    return house


def _rows(tokens: Sequence[str]) -> Iterator[str]:
    """Write each token into each row, but very long ones only once, late in the first."""
    short, long = ([t for t in tokens if (len(t) >= _LONG) == is_long] for is_long in (False, True))
    yield " ".join([*short[:12], *long])
    for start in range(0, len(short), 2):
        yield " ".join([*short[start:], *short[:start]])


def _tokenizer(tokens: Sequence[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer that knows each attack as one token, whatever is in it."""
    words = ["<pad>", "<unk>", *_ALSO]
    model = WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Split(Regex(" "), "removed")
    longest_first = sorted(tokens, key=len, reverse=True)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in longest_first])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


def _as_name(text: str) -> str:
    """Make a name for a folder of a text: as hostile as it can be."""
    return text.replace("/", "").replace("\0", "")[:_LONGEST_NAME]
