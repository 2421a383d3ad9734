"""The Python call ``backlight.tokens``."""

from pathlib import Path
from typing import Any

from backlight.models.loading import subject_of
from backlight.runs.results import Results
from backlight.surveys.driver.conduct import asked, conduct
from backlight.surveys.tokens import TOKENS


def tokens(config: str | Path | None = None, *, subject: object = None, **options: Any) -> Results:
    """Measure where the gradient of an answer sits: at which token, in which layer.

    The same as ``backlight tokens``, without printing. One forward and one backward pass for each
    batch of prompts; each prompt counts alike, and its gradient does not depend on the others.

    Args:
        config: YAML file of options; keywords win over it.
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); else the one that the options name.
        **options: Options of ``TokensConfig``, such as ``task_type="distance"`` or
            ``template="The capital of {country} is"``.

    Returns:
        The tables ``positions``, ``prompts`` and ``geometry``; as arrays, by site,
        ``{site}/gradient_norm``, ``/activation_norm`` and ``/grad_x_act`` (``[prompts, 1 + heads,
        positions]``) and ``/reachable`` (``[prompts, positions]``); ``tokens``, what stands there
        (``[prompts, positions]``); and for each target position
        ``{site}/{position}/scores``, ``/explained`` and ``/cosines``, and, unless a finished run
        was read back, ``/gradients`` and ``/activations`` (``[prompts, width]``), which are also
        the files of ``gradients/``. Its ``path`` is the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.

    Examples:
        >>> import backlight
        >>> found = backlight.tokens(task_type="distance", n_samples=4, target_layers=2)
        >>> found.data["layers.2.resid.post/gradient_norm"].shape
        (4, 1, 24)
    """
    model = subject_of(subject)
    return conduct(TOKENS, asked(TOKENS, config, options, model), subject=model)
