"""A survey of the gradient's flow, made ready to run."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial

from backlight.errors import ConfigError, UnsupportedSiteError
from backlight.models.sites import format_layers, parse_layers
from backlight.models.subject import Subject
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.shards.sharding import Sharding
from backlight.surveys.driver.steps import Step
from backlight.surveys.driver.words.sentences import with_error
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.survey import VIEWS, Flow, survey_flow
from backlight.surveys.flow.options import FlowConfig

_logger = logging.getLogger(__name__)

LeftOut = dict[str, str]
"""By the name of a view that the model does not have, why."""

FlowMeasurement = Measurement[Flow, LeftOut]


def prepare(options: FlowConfig, opening: Opening) -> FlowMeasurement:
    """Open the model and the text, and make the views that the model has.

    Args:
        options: What is asked.
        opening: It opens them.

    Returns:
        The survey, ready to run.

    Raises:
        UnsupportedSiteError: If the model has none of the views, or not the one that was named.
        ConfigError: If gradients are to go back by another rule than the derivative.
    """
    if options.backward != "true":
        raise ConfigError(
            "flow computes again, from its formulas, what norms and attention do to the true "
            f"gradient, which the rule {options.backward} does not give. Use --backward true; "
            "layers, sae and tokens take the rule."
        )
    corpus = opening.corpus()
    layers = parse_layers(options.layers, corpus.subject.num_layers)
    state, left_out = _views(options, corpus.subject, layers)

    def fresh() -> Flow:
        return Flow({name: VIEWS[name](corpus.subject, layers) for name in state.views})

    def steps(batches: Sequence[Sequence[int]], state: Flow) -> Iterator[Step]:
        return survey_flow(
            corpus.subject, corpus.passages, batches, state, reduction=options.loss_reduction
        )

    return FlowMeasurement(
        corpus=corpus,
        run_name=f"flow_{options.model_file_name}_layers_{format_layers(layers)}",
        title=f"gradient flow: {', '.join(state.views)}",
        state=state,
        plan=left_out,
        found=partial(_found, state),
        sharding=Sharding.of(
            corpus.passages,
            corpus.batches,
            fresh=fresh,
            steps=steps,
            seen=lambda state: state.loss.num_batches,
        ),
    )


def _found(state: Flow) -> str:
    """Tell the loss so far, and how the gradient grows on its way."""
    loss = f"loss {state.loss.nats_per_token:.3f}"
    view = state.views.get("residual")
    if not isinstance(view, ResidualView):
        return loss
    norms = view.depth.whole.result()["square"].root()
    ends = [with_error(norms.ratio[place], norms.se[place]) for place in (-1, 0)]
    return f"so far: gradient {ends[0]} at the last layer, {ends[1]} at the embedding; {loss}"


def _views(options: FlowConfig, subject: Subject, layers: tuple[int, ...]) -> tuple[Flow, LeftOut]:
    """Make the views that the model has; one that was asked for by name must be there."""
    views, left_out = {}, LeftOut()
    for name in options.views:
        try:
            views[name] = VIEWS[name](subject, layers)
        except UnsupportedSiteError as error:
            if options.view != "all":
                raise
            left_out[name] = str(error)
            _logger.warning("The view of %s is left out: %s", name, error)
    if not views:
        raise UnsupportedSiteError(
            f"None of the views can be had of {subject.name}: {' '.join(left_out.values())}"
        )
    return Flow(views), left_out
