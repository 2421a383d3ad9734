"""The prompts that a config asks for: of a city task, or of a template and its values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from backlight.data.delimited import read_cells
from backlight.data.records import read_objects
from backlight.errors import ConfigError, DatasetError, PromptError, quoted
from backlight.foreign.files import MEGABYTE, check_file
from backlight.models.reading import refuse_unreadable
from backlight.models.subject import Subject
from backlight.objectives.answers import AnswerObjective
from backlight.objectives.grid import ANSWER, align
from backlight.objectives.prompts import Prompt
from backlight.objectives.spans import OffsetTokenizer, PromptTokens, locate
from backlight.objectives.templates import Template
from backlight.surveys.driver.options.shared import SHIPPED
from backlight.surveys.tokens.measure.survey import PromptSet
from backlight.surveys.tokens.options import TokensConfig
from backlight.world import CITIES
from backlight.world.cities import read_cities
from backlight.world.questions.catalogue import find_task
from backlight.world.questions.sampling import read_sampling
from backlight.world.questions.selection import select
from backlight.world.questions.spelling import spell
from backlight.world.questions.task import with_options

_TRAIN_SHARE = 0.7
_PROMPT, _WRONG = "prompt", "wrong_answer"
_WHAT = (
    "Say what to ask: either task_type (a city task, such as distance) or template (any prompt, "
    'such as "The capital of {country} is"), or fields or a fields_csv with columns `prompt` and '
    "`answer`."
)
_EITHER = "Give the values of the template's fields either as fields or as fields_csv."
_NAME = re.compile(r"\{(\w+)\}")
_LARGEST = 64 * MEGABYTE


def draw_prompts(config: TokensConfig) -> list[Prompt]:
    """Build the prompts of a config.

    Args:
        config: The options.

    Returns:
        The prompts. Those of a task tell in ``values["split"]`` whether they ask of the cities of
        ``probe_train`` or of ``probe_test``.

    Raises:
        ConfigError: If a value table cannot be read.
        PromptError: If template and values do not fit.
    """
    has_prompts = config.fields is not None or config.fields_csv is not None
    if (config.task_type is None) == (config.template is None and not has_prompts):
        raise ConfigError(_WHAT)
    if config.task_type is None:
        return _from_template(config)
    task = with_options(find_task(config.task_type), config.task_options)
    sampling = read_sampling(config.sampling, config.city_groups)
    cities = read_cities(config.cities_csv or CITIES)
    random = np.random.default_rng(config.seed)
    num_train = int(_TRAIN_SHARE * config.n_samples)
    prompts: list[Prompt] = []
    for split, pattern, number in (
        ("train", config.probe_train, num_train),
        ("test", config.probe_test, config.n_samples - num_train),
    ):
        if number:
            drawn = task.draw(select(cities, pattern), number, random, sampling=sampling)
            prompts += [
                replace(spell(prompt), values={**prompt.values, "split": split}) for prompt in drawn
            ]
    return prompts


def locate_prompts(prompts: Sequence[Prompt], tokenizer: object) -> list[PromptTokens]:
    """Tokenize prompts.

    Args:
        prompts: The prompts.
        tokenizer: That of the model which is to answer.

    Returns:
        The tokens of each.

    Raises:
        PromptError: If the tokenizer tells no offsets, or merges what must be apart.
    """
    found = _with_offsets(tokenizer)
    return [locate(prompt, found) for prompt in prompts]


def prompt_set(
    config: TokensConfig,
    prompts: Sequence[Prompt],
    located: Sequence[PromptTokens],
    subject: Subject,
) -> PromptSet:
    """Find the common positions of prompts, and what is to be differentiated.

    Args:
        config: The options.
        prompts: The prompts.
        located: The tokens of each.
        subject: The model.

    Returns:
        All that is known before the model is asked.

    Raises:
        ConfigError: If a prompt is longer than the model reads.
    """
    tokenizer = _with_offsets(subject.tokenizer)
    ids = [np.asarray(tokens.ids, dtype=np.int64) for tokens in located]
    refuse_unreadable(subject, ids, kind="prompt", remedy="shorten it")
    return PromptSet(
        prompts=prompts,
        located=located,
        grid=align(prompts, located, tokenizer),
        objective=AnswerObjective.of(
            config.objective, prompts, located, include_ending=config.include_eos
        ),
    )


def largest_batch(config: TokensConfig, located: Sequence[PromptTokens]) -> tuple[int, int]:
    """Find how large a batch of prompts is.

    Args:
        config: The options, with a number for the batch size.
        located: The tokens of each prompt.

    Returns:
        How many prompts it has, and how many tokens each, at most.
    """
    return min(int(config.batch_size), len(located)), max(len(each.ids) for each in located)


def _with_offsets(tokenizer: object) -> OffsetTokenizer:
    if not isinstance(tokenizer, OffsetTokenizer):
        raise PromptError(
            "This model's tokenizer does not tell where its tokens stand in the text, so the "
            "tokens of a field cannot be found."
        )
    return tokenizer


def _from_template(config: TokensConfig) -> list[Prompt]:
    if config.model_name == SHIPPED and config.experiment_dir is None:
        raise ConfigError(
            "The shipped city model reads questions about cities only; name the model of this "
            "template with --model_name."
        )
    rows = _rows(config)
    template = _template(config, rows)
    if len(rows) > config.n_samples:
        random = np.random.default_rng(config.seed)
        chosen = sorted(random.permutation(len(rows))[: config.n_samples].tolist())
        rows = [rows[index] for index in chosen]
    return template.fill(rows)


def _template(config: TokensConfig, rows: Sequence[Mapping[str, str]]) -> Template:
    """Find what is asked: the template, or the columns that make whole prompts."""
    columns = rows[0].keys() if rows else ()
    text, answer, wrong = config.template, config.answer, config.wrong_answer
    if text is None:
        if _PROMPT not in columns:
            raise ConfigError(_WHAT)
        text = f"{{{_PROMPT}}}"
        answer = answer or (f"{{{ANSWER}}}" if ANSWER in columns else None)
        wrong = wrong or (f"{{{_WRONG}}}" if _WRONG in columns else None)
    if answer is None:
        raise ConfigError('A template needs what should follow it, such as answer: " {capital}".')
    template = Template(text=text, answer=answer, wrong_answer=wrong)
    if template.has_fields and rows == [{}]:
        raise ConfigError(_EITHER)
    return template


def _rows(config: TokensConfig) -> list[Mapping[str, str]]:
    if config.fields is not None and config.fields_csv is not None:
        raise ConfigError(_EITHER)
    if config.fields_csv is not None:
        return _read_rows(config.fields_csv, config.template or f"{{{_PROMPT}}}")
    fields = config.fields
    if fields is None:
        return [{}]
    if isinstance(fields, list):
        return list(fields)
    lengths = {name: len(values) for name, values in fields.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ConfigError(f"The fields must have a value for each prompt, but {told}.")
    return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]


def _read_rows(path: Path, template: str) -> list[Mapping[str, str]]:
    check_file(path, error=ConfigError, most=_LARGEST)
    rows: list[Mapping[str, str]]
    try:
        if path.name.lower().removesuffix(".gz").endswith((".jsonl", ".json")):
            rows = [_texts(found, where) for where, found in read_objects(path)]
        else:
            found = (cells for _, cells in read_cells(path, set(_NAME.findall(template))))
            rows = [cells for cells in found if any(cell.strip() for cell in cells.values())]
    except DatasetError as error:
        raise ConfigError(f"The values of fields cannot be had. {error}") from error
    if not rows:
        raise ConfigError(f"{quoted(path)} holds no prompts: there is no row with values in it.")
    return rows


def _texts(found: Mapping[str, object], where: str) -> dict[str, str]:
    for name, value in found.items():
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise ConfigError(
                f"The value of {quoted(name)} in {where} is {quoted(value)}, not text or a number."
            )
    return {name: str(value) for name, value in found.items()}
