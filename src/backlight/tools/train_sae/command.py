"""``backlight train-sae``: a dictionary for a model that has none, in minutes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.data.batches import Passages, bucket
from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.dictionaries.quality import Quality, Reconstruction
from backlight.dictionaries.training import Progress, Training, train
from backlight.errors import ConfigError, UnsupportedSiteError
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.runs.provenance import provenance
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.opening import load, settle
from backlight.surveys.driver.reading import resolve
from backlight.surveys.driver.sites import survey_sites
from backlight.surveys.driver.starting import ROOT
from backlight.tables import Table
from backlight.tools.train_sae.activation_store import Harvest, Harvested, harvest
from backlight.tools.train_sae.corpus import (
    divided,
    first_batches,
    passages_of,
    refuse_unreadable_text,
)
from backlight.tools.train_sae.files import rounded, write_trained
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.place import refuse_occupied
from backlight.tools.train_sae.recovery import measure_recovery
from backlight.tools.train_sae.table import print_trained, shown
from backlight.tools.train_sae.trained import TrainedDictionary, in_a_name

_FEATURES_PER_DIMENSION = 4
_RECOVERY_TOKENS = 8192  # held-out tokens on which the loss is measured, about
_BLOCK_TOKENS = 8192
_CURVE_POINTS = 100
_ATTENTION = ("query", "key", "value")


def train_sae(
    config: str | Path | None = None, *, subject: Subject | None = None, **options: Any
) -> TrainedDictionary:
    """Learn a dictionary of one site of a model, and write it in two formats.

    The same as the command ``backlight train-sae``, for notebooks and scripts.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded; its options then have no place here.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The dictionary, how good it is on held-out text, and where its files are.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.
    """
    resolved = settle(resolve(TrainSaeConfig, config, options), subject)
    return _train(resolved, subject)


def run(config: TrainSaeConfig) -> None:
    """Carry out ``backlight train-sae``, print how good the dictionary is, and how to use it.

    Args:
        config: Its options.
    """
    print_trained(config, _train(config, None))


def _train(config: TrainSaeConfig, subject: Subject | None) -> TrainedDictionary:
    clock, versions = Clock(), provenance()
    layer, path = _layer(config), _place(config)
    refuse_occupied(path, replacing=config.overwrite)
    refuse_unreadable_text(config)  # before the model is loaded
    subject = load(config) if subject is None else subject
    site = _site(config, subject, layer)
    passages = passages_of(config, subject)
    taught, held_out = divided(passages, config)
    clock.lap("loading")
    gathered = _gathered(config, subject, site, taught, with_first=False)
    clock.lap("activations")
    learned, curve = _learned(config, gathered.values, subject.device)
    clock.lap("training")
    card = Card(
        format="backlight",
        path=str(path),
        architecture="batch_top_k",
        reads=site.name,
        writes=site.name,
        layer=layer,
        model=subject.name,
    )
    dictionary = rounded(learned.dictionary(card), getattr(torch, config.save_dtype))
    quality = _quality(dictionary, _gathered(config, subject, site, held_out, with_first=True))
    batches = first_batches(held_out, config, _RECOVERY_TOKENS)
    recovery = measure_recovery(subject, site, dictionary, held_out, batches)
    clock.lap("measuring")
    trained = TrainedDictionary(
        path=path,
        site=site,
        layer=layer,
        dictionary=dictionary,
        quality=quality,
        recovery=recovery,
        curve=curve,
        origin={
            "provenance": versions,
            "model": dict(subject.facts),
            "corpus": {
                **passages.account(),
                "num_held_out_tokens": held_out.num_tokens,
                "tokens_sha256": passages.fingerprint(),
            },
        },
        seconds=clock.laps,
    )
    write_trained(trained, config, subject)
    return trained


def _layer(config: TrainSaeConfig) -> int:
    if config.layer is None:
        raise ConfigError("Say which layer the dictionary is for, such as --layer 15.")
    return config.layer


def _place(config: TrainSaeConfig) -> Path:
    if config.output_dir is not None:
        return config.output_dir
    model = config.model_file_name
    return ROOT / f"sae_{model}_{in_a_name(config.site)}_layer_{config.layer}"


def _site(config: TrainSaeConfig, subject: Subject, layer: int) -> Site:
    site = survey_sites(subject, config.site, str(layer))[0]
    if site.tap.side in _ATTENTION:
        raise UnsupportedSiteError(
            f"{site.name} cannot be replaced by a reconstruction, so it cannot be told how good a "
            "dictionary of it is. Name another site, such as attn.z or attn.out."
        )
    num_features = config.num_features or (site.width and _FEATURES_PER_DIMENSION * site.width)
    if num_features and config.k > num_features:
        raise ConfigError(
            f"--k {config.k} is more than there are features ({num_features}): lower it, or raise "
            "--num_features."
        )
    return site


def _gathered(
    config: TrainSaeConfig, subject: Subject, site: Site, passages: Passages, *, with_first: bool
) -> Harvest:
    gathered = Harvest(passages.num_tokens)
    batches = bucket(passages, batch_size=config.batch_size, seed=config.seed)
    steps = harvest(subject, site, passages, batches, gathered, with_first=with_first)

    def described(step: Harvested) -> tuple[int, str]:
        return step.num_tokens, ""

    for _ in shown(steps, f"activations at {site.name}", passages.num_tokens, described):
        pass
    return gathered


def _learned(
    config: TrainSaeConfig, x: Float[Tensor, "tokens width"], device: torch.device
) -> tuple[Training, Table]:
    state = Training(
        x,
        num_features=config.num_features or _FEATURES_PER_DIMENSION * x.shape[1],
        seed=config.seed,
        # Not every sum that is needed exists on mps.
        device=device if device.type == "cuda" else torch.device("cpu"),
    )
    steps = train(
        x,
        state,
        k=config.k,
        num_epochs=config.epochs,
        batch_size=config.tokens_per_step,
        learning_rate=config.learning_rate,
        seed=config.seed,
    )

    def described(step: Progress) -> tuple[int, str]:
        return step.num_tokens, (
            f"explained variance {step.explained_variance:.3f}, L0 {step.l0:.1f}, "
            f"dead {100 * step.dead_share:.1f} %"
        )

    size = config.tokens_per_step
    total = len(x) // size * size * config.epochs
    return state, _curve(list(shown(steps, "training", total, described)))


def _curve(steps: Sequence[Progress]) -> Table:
    """Average the steps of each hundredth of the training."""
    groups = np.array_split(np.arange(len(steps)), min(_CURVE_POINTS, len(steps)))
    ends = np.cumsum([step.num_tokens for step in steps])

    def averaged(name: str) -> NDArray[np.float64]:
        values = np.array([getattr(step, name) for step in steps])
        return np.array([values[group].mean() for group in groups])

    names = ("explained_variance", "l0", "dead_share")
    tokens = np.array([ends[group[-1]] for group in groups])
    columns = {"tokens": tokens, **{name: averaged(name) for name in names}}
    return Table(name="training", columns=columns)


def _quality(dictionary: Dictionary, gathered: Harvest) -> Quality:
    seen = Reconstruction()
    for block, first in zip(
        gathered.values.split(_BLOCK_TOKENS), gathered.first.split(_BLOCK_TOKENS), strict=True
    ):
        x = block.to(dictionary.rows)
        codes = dictionary.encode(x)
        seen.update(x, dictionary.decode(codes, x), codes, first=first.to(x.device))
    return seen.result()
