"""``backlight doctor``: is the gradient of a training healthy, and if not, where and since when."""

from pathlib import Path

from backlight.errors import ConfigError
from backlight.foreign.files import expanded
from backlight.report.page.document import refuse_page
from backlight.report.page.writing import write_page
from backlight.surveys.driver.options.shared import ModelOptions, TextOptions
from backlight.surveys.driver.words.places import LABEL, short
from backlight.surveys.driver.words.terminal import console
from backlight.tools.doctor.options import DoctorConfig
from backlight.tools.doctor.text import print_diagnosis
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.doctor.findings import Diagnosis
from backlight.training.log.history import History
from backlight.training.log.reading import read_history
from backlight.training.showing.page import page_of


def doctor(run_dir: Path | str, *, html: Path | str | None = None) -> Diagnosis:
    """Judge a training by its log; nothing is printed.

    The same as the command ``backlight doctor RUN_DIR``.

    >>> import tempfile
    >>> import backlight
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
    ...     print('{"step": 1, "loss": 2.1, "grad_norm": 0.3}', file=file, flush=True)
    ...     diagnosis = backlight.doctor(file.name)
    >>> diagnosis.verdict
    'healthy'

    Args:
        run_dir: A directory that ``backlight.watch`` wrote, or the log of another tool: a file, or
            a folder that holds it.
        html: A file for the page, None for none.

    Returns:
        The verdict, and what was found.
    """
    page = None if html is None else expanded(html, error=ConfigError)
    if page is not None:
        refuse_page(page)
    history = read_history(run_dir)
    diagnosis = diagnose(history)
    if page is not None:
        write_page(page, page_of(history, diagnosis, title=str(run_dir)))
    return diagnosis


def run(config: DoctorConfig) -> int:
    """Carry out ``backlight doctor`` and print the diagnosis.

    Args:
        config: Its options.

    Returns:
        The exit status: 0 if the verdict is healthy, else 1, also if there is nothing to judge.
    """
    if config.html is not None:
        refuse_page(config.html)
    history, title = _examined(config)
    diagnosis = diagnose(history)
    print_diagnosis(diagnosis, title=title, understood=history.understood)
    if config.html is not None:
        write_page(config.html, page_of(history, diagnosis, title=title))
        console().print(f"\n{'Page':<{LABEL}}{short(config.html)}", soft_wrap=True)
    return 0 if diagnosis.is_healthy else 1


def _examined(config: DoctorConfig) -> tuple[History, str]:
    """Read or make the history that the options ask for.

    Args:
        config: The options.

    Returns:
        The history, and what to call it.

    Raises:
        ConfigError: If the options name both a log and a model, or none of them.
    """
    given = config.model_fields_set
    if config.run_dir is None:
        if "model_name" not in given:
            raise ConfigError(
                "Name what is to be judged: a run directory, or --model_name and --dataset."
            )
        return _probed(config)
    idle = [
        name for name in (*ModelOptions.model_fields, *TextOptions.model_fields) if name in given
    ]
    if idle:
        raise ConfigError(
            f"A log is judged by itself, so {', '.join(idle)} would have no effect; leave out the "
            "run directory to judge a model."
        )
    return read_history(config.run_dir), str(config.run_dir)


def _probed(config: DoctorConfig) -> tuple[History, str]:
    # Reading a log needs no model code.
    from backlight.tools.doctor.probe import probe

    return probe(config), f"{config.model_name}, one batch of {config.dataset}"
