"""The prompts that a config asks for: of a city task, or of a template and its values."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from backlight.analysis.tokens import PromptSet
from backlight.config import SHIPPED, TokensConfig
from backlight.data.cities import read_cities
from backlight.data.world import CITIES
from backlight.errors import ConfigError, PromptError
from backlight.foreign.files import MEGABYTE, check_file
from backlight.models.subject import Subject
from backlight.tasks.answers import AnswerObjective
from backlight.tasks.grid import align
from backlight.tasks.prompts import Prompt
from backlight.tasks.spans import OffsetTokenizer, locate
from backlight.tasks.templates import Template
from backlight.tasks.world import find_task, select, spell, with_options
from backlight.tasks.world.strategies import read_sampling

__all__ = ["draw_prompts", "prepare"]

_TRAIN_SHARE = 0.7
_LARGEST = 64 * MEGABYTE


def draw_prompts(config: TokensConfig) -> list[Prompt]:
    """Make the prompts of a config.

    Args:
        config: The options.

    Returns:
        The prompts. Those of a task tell in ``values["split"]`` whether they ask of the cities of
        ``probe_train`` or of ``probe_test``.

    Raises:
        ConfigError: If a value table cannot be read.
        PromptError: If template and values do not fit.
    """
    if (config.task_type is None) == (config.template is None):
        raise ConfigError(
            "Say what to ask: either task_type (a city task, such as distance) or template (any "
            'prompt, such as "The capital of {country} is").'
        )
    if config.template is not None:
        return _from_template(config, config.template)
    assert config.task_type is not None
    task = with_options(find_task(config.task_type), config.task_options)
    sampling = read_sampling(config.sampling, config.city_groups)
    cities = read_cities(config.cities_csv or CITIES)
    random = np.random.default_rng(config.seed)
    num_train = int(_TRAIN_SHARE * config.n_samples)
    parts = {
        "train": (config.probe_train, num_train),
        "test": (config.probe_test, config.n_samples - num_train),
    }
    prompts: list[Prompt] = []
    for split, (pattern, number) in parts.items():
        if number:
            asked = select(cities, pattern)
            drawn = task.draw(asked, number, random, sampling=sampling)
            prompts += [_of_split(spell(prompt), split) for prompt in drawn]
    return prompts


def prepare(config: TokensConfig, prompts: Sequence[Prompt], subject: Subject) -> PromptSet:
    """Tokenize prompts, find their common positions and what is to be differentiated.

    Args:
        config: The options.
        prompts: The prompts.
        subject: The model.

    Returns:
        All that is known before the model is asked.

    Raises:
        PromptError: If the tokenizer tells no offsets, or merges what must be apart.
        ConfigError: If a prompt is longer than the model reads.
    """
    tokenizer = subject.tokenizer
    if not isinstance(tokenizer, OffsetTokenizer):
        raise PromptError(
            "This model's tokenizer does not tell where its tokens stand in the text, so the "
            "tokens of a field cannot be found."
        )
    located = [locate(prompt, tokenizer) for prompt in prompts]
    longest = max(len(tokens.ids) for tokens in located)
    if subject.max_positions is not None and longest > subject.max_positions:
        raise ConfigError(
            f"A prompt has {longest} tokens, but {subject.name} reads {subject.max_positions}."
        )
    return PromptSet(
        prompts=prompts,
        located=located,
        grid=align(prompts, located, tokenizer),
        objective=AnswerObjective.of(
            config.objective, prompts, located, include_ending=config.include_eos
        ),
    )


def _of_split(prompt: Prompt, split: str) -> Prompt:
    return replace(prompt, values={**prompt.values, "split": split})


def _from_template(config: TokensConfig, text: str) -> list[Prompt]:
    if config.answer is None:
        raise ConfigError('A template needs what should follow it, such as answer: " {capital}".')
    if config.model_name == SHIPPED and config.experiment_dir is None:
        raise ConfigError(
            "The shipped city model reads questions about cities only; name the model of this "
            "template with --model_name."
        )
    template = Template(text=text, answer=config.answer, wrong_answer=config.wrong_answer)
    rows = _rows(config)
    if len(rows) > config.n_samples:
        random = np.random.default_rng(config.seed)
        chosen = sorted(random.permutation(len(rows))[: config.n_samples].tolist())
        rows = [rows[index] for index in chosen]
    return template.fill(rows)


def _rows(config: TokensConfig) -> list[Mapping[str, str]]:
    if (config.fields is None) == (config.fields_csv is None):
        raise ConfigError(
            "Give the values of the template's fields either as fields or as fields_csv."
        )
    if config.fields_csv is not None:
        return _read_rows(config.fields_csv)
    fields = config.fields
    if isinstance(fields, list):
        return list(fields)
    assert fields is not None
    lengths = {name: len(values) for name, values in fields.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ConfigError(f"The fields must have a value for each prompt, but {told}.")
    return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]


def _read_rows(path: Path) -> list[Mapping[str, str]]:
    if path.expanduser().exists() and not path.is_dir():
        check_file(path.expanduser(), error=ConfigError, most=_LARGEST)
    try:
        with path.expanduser().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {str(path)!r} with values of fields.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{str(path)!r} cannot be read as CSV: {error}.") from error
    for number, row in rows:
        if None in row or None in row.values():
            raise ConfigError(f"Line {number} of {str(path)!r} has not as many cells as headings.")
    return [row for _, row in rows]
