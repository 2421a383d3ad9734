"""The command line: words in, one call, an exit status out. Nothing heavy is imported here."""

import inspect
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_origin

from cyclopts import App, CycloptsError, Parameter
from pydantic import BaseModel, ValidationError, create_model

from backlight.errors import BacklightError, ConfigError, shorten
from backlight.foreign.failures import kinds_of_failures, tell
from backlight.foreign.streams import Unhindered, complain, flush, let_go, prepare_streams
from backlight.foreign.text import plain
from backlight.labs import LABS
from backlight.surveys import SURVEYS
from backlight.surveys.driver.declaration import Lab, Survey, loaded
from backlight.surveys.driver.options.reading import explain, merge, resolve
from backlight.tools import TOOLS

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_PIPE = 141  # as the shell has it for a command whose reader went away
_LONGEST = 1200  # letters of a sentence
_CONFIG = "YAML file of options, such as the config.yaml of an earlier run. Flags win over it."

app = App(
    name="backlight",
    help="Light a transformer from behind: where the gradient of its loss flows.",
    default_parameter=Parameter(name_transform=lambda name: name),
    suppress_keyboard_interrupt=False,  # main says how to go on
)


_labs = App(
    name="lab",
    help="Experiments: train small networks, or build them, and compare theory with measurement.",
    default_parameter=app.default_parameter,
)

_plans = App(
    name="plan",
    help="Make the directory of a run that `backlight worker` measures in parts, on any machines, "
    "and `backlight merge` finishes.",
    default_parameter=app.default_parameter,
)


def _add(
    to: App,
    name: str,
    kind: type[BaseModel],
    carry_out: Callable[[Any], Any],
    positional: str | None = None,
) -> None:
    """Add a command that is told by its options, and by a file of options or one of them.

    Args:
        to: Where to add it.
        name: What it is called.
        kind: Its options; their docstring is its help.
        carry_out: Takes the options, and may return an exit status.
        positional: The option that may stand without its name; None for a file of options. Of a
            tuple all words are taken that are no flags.
    """
    flags = kind if positional is None else _without(kind, positional)
    nothing = flags.model_construct()

    def command(first: Any = None, *, options: Any = nothing) -> Any:
        given = {each: getattr(options, each) for each in options.model_fields_set}
        if positional is None or _is_file_of_options(kind, first):
            file = first[0] if isinstance(first, list) else first
            return carry_out(resolve(kind, file, given))
        return carry_out(merge(kind, {}, given if first is None else {**given, positional: first}))

    if positional is None:
        first, annotation, default, told = "config", Path | None, None, _CONFIG
    else:
        field = kind.model_fields[positional]
        first, told = positional, field.description
        annotation = list[str] | None if get_origin(field.annotation) is tuple else Any
        default = inspect.Parameter.empty if field.is_required() else None
    own = {
        first: Annotated[annotation, Parameter(help=told, negative="")],
        "options": Annotated[flags, Parameter(name="*")],
    }
    parameters = [
        inspect.Parameter(first, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default),
        inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, default=nothing),
    ]
    # The words of a command are read off its signature, which is made here of its options.
    signature = inspect.Signature([each.replace(annotation=own[each.name]) for each in parameters])
    command.__annotations__, command.__doc__ = own, kind.__doc__
    setattr(command, "__signature__", signature)  # noqa: B010  # not known of functions
    to.command(command, name=name)


def _without(kind: type[BaseModel], positional: str) -> type[BaseModel]:
    """Return options whose positional one may be missing among the flags: it stands before them."""
    apart: dict[str, Any] = {positional: (Annotated[Any, Parameter(parse=False)], None)}
    return create_model(kind.__name__, __base__=kind, **apart)


def _is_file_of_options(kind: type[BaseModel], first: Any) -> bool:
    """Whether the first word of a survey is no run, but the config.yaml of an earlier survey."""
    is_survey = any(kind is survey.options for survey in SURVEYS.values())
    if isinstance(first, list) and len(first) == 1:
        (first,) = first
    return is_survey and isinstance(first, str) and Path(first).suffix in (".yaml", ".yml")


# What carries commands out is loaded when it is called, so that words can be read without torch.
def _survey(survey: Survey) -> Callable[[Any], Any]:
    way = "conduct" if survey.needs_model else "finished"
    return lambda options: _module(way, options, heavy=survey.needs_model).run(survey, options)


def _plan(survey: Survey) -> Callable[[Any], Any]:
    return lambda options: _module("parts", options).plan_and_tell(survey, options)


def _lab(lab: Lab) -> Callable[[Any], Any]:
    return lambda options: _module("experiments", options).run_lab(lab, options)


def _module(name: str, options: Any, *, heavy: bool = True) -> ModuleType:
    if options.quiet:
        logging.getLogger("backlight").setLevel(logging.WARNING)
    return loaded(f"backlight.surveys.driver.{name}", heavy=heavy)


for _each in SURVEYS.values():
    _add(app, _each.name, _each.options, _survey(_each), _each.positional)
for _tool in TOOLS.values():
    _add(app, _tool.name, _tool.options, _tool.run, _tool.positional)
app.command(_plans)
for _each in SURVEYS.values():
    if "workers" in _each.options.model_fields:
        _add(_plans, _each.name, _each.options, _plan(_each))
app.command(_labs)
for _experiment in LABS.values():
    _add(_labs, _experiment.name, _experiment.options, _lab(_experiment))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: The arguments; those of the process by default. ``--debug`` anywhere among them shows
            the traceback of an error.

    Returns:
        The exit status: 0 done, 1 the run failed or the doctor found something, 2 a user's
        mistake, 130 interrupted, 141 nobody reads what is printed.
    """
    prepare_streams()
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    _configure_logging()
    try:
        status = app(
            [word for word in words if word != "--debug"],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",  # else it would leave the process by itself
        )
        flush()
    except (BacklightError, CycloptsError) as error:
        _complain(error, _sentence(error), debug)
        return error.exit_status if isinstance(error, BacklightError) else _USAGE
    except KeyboardInterrupt:
        complain("backlight: stopped; go on with --resume if results were to be saved.")
        return _INTERRUPTED
    except SystemExit:  # so does rich, if nobody reads the help
        return _PIPE
    except BrokenPipeError:  # the reader of what is printed has seen enough
        let_go(sys.stdout)
        return _PIPE
    except kinds_of_failures() as error:
        told = tell(error)
        if told is None:
            raise
        _complain(error, told, debug)
        return _FAILED
    finally:
        _end()
    return status if isinstance(status, int) else 0


def _complain(error: BaseException, told: str, debug: bool) -> None:
    if debug:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        complain(plain("".join(lines).rstrip(), lines=True))
    complain(f"backlight: {shorten(plain(told), _LONGEST)}")


def _end() -> None:
    """Leave nothing in the streams that Python could not write out when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            let_go(stream)


def _sentence(error: Exception) -> str:
    """Return an error as one line."""
    cause = error.__cause__
    if isinstance(cause, ValidationError) and not isinstance(error, ConfigError):
        declared = (*SURVEYS.values(), *TOOLS.values(), *LABS.values())
        kinds = {each.options.__name__: each.options for each in declared}
        return explain(kinds[cause.title], cause)
    return " ".join(str(error).split())


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record), lines=True)


def _configure_logging() -> None:
    handler = logging.StreamHandler(Unhindered(sys.stderr))
    handler.setFormatter(_Plain("%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("backlight").setLevel(logging.INFO)
    warnings.formatwarning = _warning
    # These libraries set their own levels when they are imported, from these variables.
    for library in ("TRANSFORMERS", "HF_HUB", "DATASETS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


def _warning(
    message: Warning | str, category: type[Warning], file: str, line: int, source: str | None = None
) -> str:
    del source  # a line of code helps no user
    return f"{plain(file)}:{line}: {category.__name__}: {plain(message)}\n"


if __name__ == "__main__":
    sys.exit(main())
