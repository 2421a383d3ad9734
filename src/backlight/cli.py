"""The command line: words in, one call, an exit status out. Nothing heavy is imported here."""

import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from pydantic import BaseModel, ValidationError

from backlight.errors import BacklightError, ConfigError, shorten
from backlight.foreign.failures import kinds_of_failures, tell
from backlight.foreign.streams import Unhindered, complain, flush, let_go, prepare_streams
from backlight.foreign.text import plain
from backlight.labs import LABS
from backlight.labs.frame.options import LabOptions
from backlight.surveys.driver.reading import explain, merge
from backlight.surveys.features.options import SaeConfig
from backlight.surveys.flow.options import FlowConfig
from backlight.surveys.layers.options import LayersConfig
from backlight.surveys.tokens.options import TokensConfig
from backlight.tools.doctor.options import DoctorConfig
from backlight.tools.sites.options import SitesConfig
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_world.options import TrainWorldConfig

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_PIPE = 141  # as the shell has it for a command whose reader went away
_LONGEST = 1200  # letters of a sentence

_Doctor = Annotated[DoctorConfig, Parameter(name="*")]
_Flow = Annotated[FlowConfig, Parameter(name="*")]
_Layers = Annotated[LayersConfig, Parameter(name="*")]
_Sae = Annotated[SaeConfig, Parameter(name="*")]
_Sites = Annotated[SitesConfig, Parameter(name="*")]
_Tokens = Annotated[TokensConfig, Parameter(name="*")]
_TrainSae = Annotated[TrainSaeConfig, Parameter(name="*")]
_TrainWorld = Annotated[TrainWorldConfig, Parameter(name="*")]

_KINDS = (
    DoctorConfig,
    FlowConfig,
    LayersConfig,
    SaeConfig,
    SitesConfig,
    TokensConfig,
    TrainSaeConfig,
    TrainWorldConfig,
    *LABS.values(),
)

app = App(
    name="backlight",
    help="Light a transformer from behind: where the gradient of its loss flows.",
    default_parameter=Parameter(name_transform=lambda name: name),
    suppress_keyboard_interrupt=False,  # main says how to go on
)


@app.command
def layers(config: Path | None = None, *, options: _Layers = LayersConfig()) -> None:
    """Measure the gradient of the loss at every layer, over a corpus, in one pass.

    Prints a line per layer with standard errors. With --save_outputs or --output_dir it also writes
    arrays, tables and figures.

    Parameters
    ----------
    config
        YAML file of options, such as the config.yaml of an earlier run. Flags win over it.
    """
    _call("layers", _resolved(LayersConfig, config, options))


@app.command
def sites(model: str | None = None, *, options: _Sites = SitesConfig()) -> None:
    """List every site of a model, in our names and in those of Transformers and TransformerLens.

    Parameters
    ----------
    model
        The model, as for --model_name.
    """
    named = {} if model is None else {"model_name": model}
    _call("sites", merge(SitesConfig, {}, {**_given(options), **named}))


@app.command
def sae(config: Path | None = None, *, options: _Sae = SaeConfig()) -> None:
    """Measure the gradient of the loss with respect to the features of sparse dictionaries.

    Reads SAELens, dictionary_learning, sparsify and Gemma Scope files. Each dictionary must first
    reconstruct its site. Prints a line per layer and the features that matter most, with standard
    errors. With --save_outputs or --output_dir it also writes arrays, tables and figures.

    Parameters
    ----------
    config
        YAML file of options, such as the config.yaml of an earlier run. Flags win over it.
    """
    _call("sae", _resolved(SaeConfig, config, options))


@app.command(name="train-sae")
def train_sae(config: Path | None = None, *, options: _TrainSae = TrainSaeConfig()) -> None:
    """Train a sparse dictionary of one site of a model, in minutes on a CPU.

    Streams text through the model, no further than the site, and learns a BatchTopK dictionary. It
    is saved for SAELens and for dictionary_learning, with a card that says how good it is on text
    that was held out.

    Parameters
    ----------
    config
        YAML file of options. Flags win over it.
    """
    _call("train_sae", _resolved(TrainSaeConfig, config, options))


@app.command
def tokens(config: Path | None = None, *, options: _Tokens = TokensConfig()) -> None:
    """Measure at which token and in which layer the gradient of an answer sits.

    Prompts come from one of twelve tasks about cities (the small shipped model has learned one of
    them, distances), or from a template with fields, for any model. Prints the positions with the
    largest gradients and the shape of the gradient vectors. With --save_outputs or --output_dir it
    also writes arrays, tables, heatmaps and PCA figures.

    Parameters
    ----------
    config
        YAML file of options, such as configs/distance.yaml. Flags win over it.
    """
    _call("tokens", _resolved(TokensConfig, config, options))


@app.command
def flow(config: Path | None = None, *, options: _Flow = FlowConfig()) -> None:
    """Measure what norms, attention and residual paths do to the gradient on its way back.

    One forward and one backward pass over a corpus serves all views. Prints a table for each. With
    --save_outputs or --output_dir it also writes tables and figures, and the model as a drawing of
    its gradient's paths.

    Parameters
    ----------
    config
        YAML file of options, such as the config.yaml of an earlier run. Flags win over it.
    """
    _call("flow", _resolved(FlowConfig, config, options))


@app.command(name="train-world")
def train_world(config: Path | None = None, *, options: _TrainWorld = TrainWorldConfig()) -> None:
    """Train a small model on questions about cities, from scratch, in hours on a CPU.

    Each model on the way is a folder that Transformers can load; answers to questions that were
    held out are marked as it goes. What was stopped goes on with --resume.

    Parameters
    ----------
    config
        YAML file of options, such as the config.yaml of an earlier run. Flags win over it.
    """
    _call("train_world", _resolved(TrainWorldConfig, config, options))


@app.command
def doctor(run_dir: Path | None = None, *, options: _Doctor = DoctorConfig()) -> int:
    """Say whether the gradient of a training is healthy, and if not: where, since when, and why.

    Reads what backlight.watch wrote, during or after the training, or a log of JSON lines such as
    {"step": 1, "grad_norm": 0.3, "loss": 2.1}. Without one, a batch of --dataset goes through
    --model_name, forward and backward. The exit status is 0 for healthy, 1 if there are findings.

    Parameters
    ----------
    run_dir
        The run directory or log.
    """
    where = {} if run_dir is None else {"run_dir": run_dir}
    return _call("doctor", merge(DoctorConfig, {}, {**_given(options), **where}))


@app.command
def report(run_dir: Path) -> None:
    """Redraw every figure of a finished run from its files, without the model.

    Parameters
    ----------
    run_dir
        The run directory.
    """
    figures = _call("report", run_dir)
    print(f"{len(figures)} figures redrawn in {plain(run_dir)}")


@app.command
def demo(*, output_dir: Path = Path("runs/demo")) -> None:
    """Run the main jobs on a real model (SmolLM2-135M), a shipped dictionary and shipped text.

    Parameters
    ----------
    output_dir
        Where results go; an earlier demo there is replaced.
    """
    _call("demo", output_dir)


_lab = App(
    name="lab",
    help="Experiments: train small networks, or build them, and hold theory against measurement.",
    default_parameter=app.default_parameter,
)
app.command(_lab)


def _add_lab(name: str, kind: type[LabOptions]) -> None:
    def experiment(config: Path | None = None, *, options: Any = kind()) -> None:
        importlib.import_module("backlight.labs.frame.running").run(
            name, _resolved(kind, config, options)
        )

    experiment.__annotations__["options"] = Annotated[kind, Parameter(name="*")]
    experiment.__doc__ = f"""{kind.__doc__}

    Parameters
    ----------
    config
        YAML file of options, such as the config.yaml of an earlier run. Flags win over it.
    """
    _lab.command(experiment, name=name)


for _name, _kind in LABS.items():
    _add_lab(_name, _kind)


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


_PLACES = {
    "layers": "backlight.surveys.layers.command",
    "sae": "backlight.surveys.features.command",
    "tokens": "backlight.surveys.tokens.command",
    "flow": "backlight.surveys.flow.command",
    **{
        name: f"backlight.tools.{name}.command"
        for name in ("demo", "doctor", "report", "sites", "train_sae", "train_world")
    },
}


def _call(command: str, argument: Any) -> Any:
    """Load a command by its name, so that words can be read without torch, and run it."""
    return importlib.import_module(_PLACES[command]).run(argument)


def _resolved(kind: type[Any], config: Path | None, options: BaseModel) -> Any:
    resolve = importlib.import_module("backlight.surveys.driver.resolving").resolve
    return resolve(kind, config, _given(options))


def _given(options: BaseModel) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.model_fields_set}


def _sentence(error: Exception) -> str:
    """Tell an error in one line."""
    cause = error.__cause__
    if isinstance(cause, ValidationError) and not isinstance(error, ConfigError):
        kinds = {kind.__name__: kind for kind in _KINDS}
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
