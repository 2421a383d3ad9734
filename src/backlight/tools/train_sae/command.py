"""``backlight train-sae``: a dictionary for a model that has none, in minutes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backlight.data.batches import Passages, bucket
from backlight.dictionaries.dictionary import Card, Dictionary
from backlight.dictionaries.quality import Quality, Reconstruction
from backlight.dictionaries.training import Training, TrainingStep, train
from backlight.errors import ConfigError, UnsupportedSiteError
from backlight.models.loading import subject_of
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.runs.provenance import provenance
from backlight.stats.progress import Progress
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.material.opening import load, settle
from backlight.surveys.driver.material.rows import rows_of
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.sites import survey_sites
from backlight.surveys.driver.starting import ROOT
from backlight.surveys.driver.words.progress import Bar
from backlight.tables import Table
from backlight.tools.train_sae.activation_store import ActivationStore, store_activations
from backlight.tools.train_sae.corpus import divided, first_batches, passages_of
from backlight.tools.train_sae.files import write_trained
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.place import refuse_occupied
from backlight.tools.train_sae.recovery import measure_recovery
from backlight.tools.train_sae.table import print_trained
from backlight.tools.train_sae.trained import TrainedDictionary, in_a_name

_FEATURES_PER_DIMENSION = 4
_RECOVERY_TOKENS = 8192  # held-out tokens on which the loss is measured, about
_BLOCK_TOKENS = 8192
_CURVE_POINTS = 100
_ATTENTION = ("query", "key", "value")


def train_sae(
    config: str | Path | None = None, *, subject: object = None, **options: Any
) -> TrainedDictionary:
    """Learn a dictionary of one site of a model, and write it in two formats.

    The same as the command ``backlight train-sae``, for notebooks and scripts.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); its options then have no place here.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The dictionary, how good it is on held-out text, and where its files are.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import backlight
        >>> questions = [f"distance(c_{city},c_2045)={city}" for city in range(10, 40)]
        >>> with TemporaryDirectory() as folder:
        ...     trained = backlight.train_sae(
        ...         model_name="city",
        ...         dataset=questions,
        ...         layer=1,
        ...         num_features=32,
        ...         k=4,
        ...         num_tokens=200,
        ...         tokens_per_step=32,
        ...         output_dir=Path(folder) / "sae",
        ...     )
        ...     sorted(path.name for path in trained.path.iterdir())
        ['README.md', 'curve.csv', 'dictionary_learning', 'saelens', 'training.json']
        >>> trained.dictionary.num_features, trained.site.name
        (32, 'layers.1.mlp.out')
    """
    model = subject_of(subject)
    return _train(settle(resolve(TrainSaeConfig, config, options), model), model)


def run(config: TrainSaeConfig) -> None:
    """Carry out ``backlight train-sae``, print how good the dictionary is, and how to use it.

    Args:
        config: Its options.
    """
    print_trained(config, _train(config, None))


def _train(config: TrainSaeConfig, subject: Subject | None) -> TrainedDictionary:
    clock, versions = Clock(), provenance()
    path = _place(config)
    refuse_occupied(path, replacing=config.overwrite)
    rows_of(config, 1)  # a text that cannot be read is refused before the model is loaded
    subject = load(config) if subject is None else subject
    site = _site(config, subject)
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
        layer=config.layer,
        model=subject.name,
    )
    dictionary = learned.dictionary(card, dtype=getattr(torch, config.save_dtype))
    quality = _quality(dictionary, _gathered(config, subject, site, held_out, with_first=True))
    batches = first_batches(held_out, config, _RECOVERY_TOKENS)
    recovery = measure_recovery(subject, site, dictionary, held_out, batches)
    clock.lap("measuring")
    corpus = {
        **passages.account(),
        "num_held_out_tokens": held_out.num_tokens,
        "tokens_sha256": passages.fingerprint(),
    }
    trained = TrainedDictionary(
        path=path,
        site=site,
        layer=layer_of(site.name) or 0,
        dictionary=dictionary,
        quality=quality,
        recovery=recovery,
        curve=curve,
        origin={"provenance": versions, "model": dict(subject.facts), "corpus": corpus},
        seconds=clock.laps,
    )
    write_trained(trained, config, subject)
    return trained


def _place(config: TrainSaeConfig) -> Path:
    if config.layer is None:
        raise ConfigError("Say which layer the dictionary is for, such as --layer 15.")
    named = f"sae_{config.model_file_name}_{in_a_name(config.site)}_layer_{config.layer}"
    return config.output_dir or ROOT / named


def _site(config: TrainSaeConfig, subject: Subject) -> Site:
    site = survey_sites(subject, config.site, str(config.layer))[0]
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
) -> ActivationStore:
    store = ActivationStore(passages.num_tokens)
    batches = bucket(passages, batch_size=config.batch_size, seed=config.seed)
    with Bar(f"activations at {site.name}", total=passages.num_tokens) as bar:
        for step in store_activations(
            subject, site, passages, batches, store, with_first=with_first
        ):
            bar.after(step)
    return store


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
    steps: list[TrainingStep] = []
    size = config.tokens_per_step
    with Bar("training", total=len(x) // size * size * config.epochs) as bar:
        for step in train(
            x,
            state,
            k=config.k,
            num_epochs=config.epochs,
            batch_size=size,
            learning_rate=config.learning_rate,
            seed=config.seed,
        ):
            steps.append(step)
            quality = f"explained variance {step.explained_variance:.3f}, L0 {step.l0:.1f}"
            dead = f"dead {100 * step.dead_share:.1f} %"
            bar.after(Progress(num_tokens=step.num_tokens), f"{quality}, {dead}")
    return state, _curve(steps)


def _curve(steps: Sequence[TrainingStep]) -> Table:
    """Average the steps of each hundredth of the training."""
    groups = np.array_split(np.arange(len(steps)), min(_CURVE_POINTS, len(steps)))
    ends = np.cumsum([step.num_tokens for step in steps])
    columns = {"tokens": np.array([ends[group[-1]] for group in groups])}
    for name in ("explained_variance", "l0", "dead_share"):
        values = np.array([getattr(step, name) for step in steps])
        columns[name] = np.array([values[group].mean() for group in groups])
    return Table(name="training", columns=columns)


def _quality(dictionary: Dictionary, store: ActivationStore) -> Quality:
    seen = Reconstruction()
    blocks = zip(store.values.split(_BLOCK_TOKENS), store.first.split(_BLOCK_TOKENS), strict=True)
    for block, first in blocks:
        x = block.to(dictionary.rows)
        codes = dictionary.encode(x)
        seen.update(x, dictionary.decode(codes, x), codes, first=first.to(x.device))
    return seen.result()
