"""What a survey, an experiment and a tool are: a name, options, and where the code behind stands.

Declarations load nothing heavy, so that the command line can list all of them in a moment.
"""

import gc
import importlib
import logging
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel

_logger = logging.getLogger(__name__)


def loaded(module: str, *, heavy: bool = True) -> ModuleType:
    """Import a module when a command is carried out, and not before.

    Args:
        module: Its name.
        heavy: It loads PyTorch and Transformers, which takes seconds; somebody may be waiting.

    Returns:
        The module.
    """
    if not heavy or "torch" in sys.modules:
        return importlib.import_module(module)
    _logger.info("Loading PyTorch and Transformers ...")
    # Modules stay, and there are a million objects in them: the collector of garbage need not look
    # at them while they are imported, nor ever after. It would take a sixth of the whole start.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A question that is asked of a model and a text.

    Attributes:
        name: The name of its command.
        options: What can be asked; the docstring is the help of the command.
        room: The package that holds the doors: ``measure`` (``prepare(options, opening)`` returns a
            ``Measurement``), ``tables`` (``findings(options, measurement)``), ``figures``
            (``draw(results)`` yields each ``Drawing``, not yet drawn), ``page`` (``views(results)``
            yields what its page shows) and ``printed``: ``summary(results)``
            returns at most three sentences, of results read back from disk too;
            ``brief(options, results)`` yields small tables for a screen, ``tables(options,
            results)`` whole ones, both also sentences.
        picture: The name of the figure that says most, or a pattern for it.
        lists: A flag among the options with which nothing is measured, but what ``listed(options)``
            of the door ``printed`` yields is printed; None if there is none.
        positional: The option that can be given without its name, unless a file of options is;
            None for a file of options alone.
        reads: It asks about a finished run, which the door ``reading`` reads: ``read(options,
            **given)`` returns what ``prepare`` takes besides.
        needs_model: It runs a model. Without one, ``driver.finished`` says what its doors do.
    """

    name: str
    options: type[BaseModel]
    room: str
    picture: str = "*"
    lists: str | None = None
    positional: str | None = None
    reads: bool = False
    needs_model: bool = True

    def door(self, name: str) -> ModuleType:
        """Import one of the doors of the room."""
        return importlib.import_module(f"{self.room}.{name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """An experiment.

    Attributes:
        name: The name of its command below ``backlight lab``.
        options: What can be changed; the docstring is the help of the command.
        room: The package whose module ``experiment`` has the function ``experiment(options,
            trials)``, which returns ``LabFindings``.
    """

    name: str
    options: type[BaseModel]
    room: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A command that is no survey.

    Attributes:
        name: The name of its command.
        options: What can be asked; the docstring is the help of the command.
        room: The package whose module ``command`` has the function ``run(options)``, which may
            return an exit status.
        positional: The option that can be given without its name; None for a file of options.
        heavy: It always loads PyTorch and Transformers.
    """

    name: str
    options: type[BaseModel]
    room: str
    positional: str | None = None
    heavy: bool = True

    def run(self, options: BaseModel) -> Any:
        """Import the command and carry it out."""
        return loaded(f"{self.room}.command", heavy=self.heavy).run(options)
