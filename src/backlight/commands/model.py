"""The model that a command's options name."""

from backlight.config import ModelOptions
from backlight.models.loading import load_subject
from backlight.models.subject import Subject

__all__ = ["load"]


def load(config: ModelOptions) -> Subject:
    """Load the model that some options name."""
    return load_subject(
        config.model_name,
        device=config.device,
        dtype=config.dtype,
        attn_implementation=config.attn_implementation,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )
