"""What ``backlight train-sae`` returns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.quality import Quality
from backlight.models.sites import Site, kind_of
from backlight.tables import Table
from backlight.tools.train_sae.recovery import Recovery


def in_a_name(site: str) -> str:
    """Write a kind of site so that it can be part of a file's name: ``mlp_out``."""
    return re.sub(r"\W+", "_", site)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedDictionary:
    """A dictionary that was learned, and how good it is on text that it was not shown.

    Attributes:
        path: The directory with its files.
        site: The site that it reads and writes.
        layer: The site's layer.
        dictionary: The dictionary, rounded as in the files.
        quality: How well it reconstructs held-out text.
        recovery: What its reconstruction leaves of the loss on some of that text.
        curve: Explained variance, L0 and dead features as the training went on.
        origin: Versions, the model, and what text it was learned from.
        seconds: How long each phase took.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import backlight
        >>> with TemporaryDirectory() as folder:
        ...     trained = backlight.train_sae(
        ...         model_name="city",
        ...         dataset=[f"distance(c_{city},c_2045)={city}" for city in range(10, 40)],
        ...         layer=1,
        ...         num_features=32,
        ...         k=4,
        ...         num_tokens=200,
        ...         tokens_per_step=32,
        ...         output_dir=Path(folder) / "sae",
        ...     )
        >>> trained.saelens.relative_to(trained.path)
        PosixPath('saelens/layer_1')
        >>> list(trained.curve.columns)
        ['tokens', 'explained_variance', 'l0', 'dead_share']
    """

    path: Path
    site: Site
    layer: int
    dictionary: Dictionary
    quality: Quality
    recovery: Recovery
    curve: Table
    origin: Mapping[str, Any]
    seconds: Mapping[str, float]

    @property
    def label(self) -> str:
        """The site as dictionary_learning writes it, such as ``mlp_out_layer_3``."""
        return f"{in_a_name(kind_of(self.site.name))}_layer_{self.layer}"

    @property
    def saelens(self) -> Path:
        """The folder that SAELens reads."""
        return self.path / "saelens" / f"layer_{self.layer}"

    @property
    def dictionary_learning(self) -> Path:
        """The folder that dictionary_learning reads."""
        return self.path / "dictionary_learning" / self.label / "trainer_0"
