"""From a history to a diagnosis: all symptoms, with consequences told under their causes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backlight.training.doctor.catalogue import SYMPTOMS
from backlight.training.doctor.course import LEAST_LOSSES
from backlight.training.doctor.depth import find_by_depth
from backlight.training.doctor.findings import Diagnosis, Finding, were
from backlight.training.doctor.losses import find_bad_losses
from backlight.training.doctor.missing import find_missing
from backlight.training.doctor.non_finite import NonFinite, find_non_finite, keep
from backlight.training.doctor.readings import LEAST, Readings
from backlight.training.doctor.spikes import find_spikes
from backlight.training.doctor.updates import find_bad_updates
from backlight.training.doctor.weights import find_bad_weights
from backlight.training.doctor.zeros import find_zeros
from backlight.training.log.history import Event, History

_FAMILIES = (
    find_missing,
    find_zeros,
    find_bad_updates,
    find_bad_weights,
    find_by_depth,
    find_spikes,
    find_bad_losses,
)
_OF_THE_RUN = ("loss_flat", "loss_plateau")  # these have no step of their own
_MOST_TOLD = 400  # characters of an event
_SLACK = 3  # recorded steps by which a consequence may be seen before its cause
_KEY_BIASES = (".k_proj.bias", ".key.bias", ".wk.bias", ".to_k.bias")
_ORDER = {name: place for place, name in enumerate(SYMPTOMS)}


def diagnose(history: History) -> Diagnosis:
    """Judge a training run by its history.

    What is NaN or infinite until the end is judged up to its first step only: everything after it
    is a consequence. Single steps that are not finite, with finite ones after them, are left out.
    Where steps begin again, the last run is judged.

    Args:
        history: What was recorded, at any time during the training or after it.

    Returns:
        The verdict, what was found, and what could not be judged. Without any gradient a run is not
        healthy: there is nothing to judge, unless the loss alone shows an error.
    """
    with np.errstate(all="ignore"):  # what a stranger's log holds may have any size
        return _diagnose(history)


def _diagnose(whole: History) -> Diagnosis:
    history = _last_run(whole)
    readings = Readings(history=history)
    non_finite = NonFinite(readings=readings)
    broken = list(find_non_finite(non_finite))
    lasting = [each.since_step for each in broken if each.until_step is None]
    before = Readings(history=non_finite.before(min(lasting, default=None)))
    found = [each for find in _FAMILIES for each in find(before)]
    roots = _folded([*broken, *found], history)
    findings = tuple(
        sorted(roots, key=lambda r: (r.severity == "warning", r.since_step, _ORDER[r.symptom]))
    )
    first_error = next((each for each in findings if each.severity == "error"), None)
    verdict = "healthy" if _is_any_gradient_known(history) else "nothing to judge"
    return Diagnosis(
        verdict=verdict if first_error is None else first_error.verdict,
        findings=findings,
        first_step=int(history.steps[0]) if len(history.steps) else None,
        last_step=int(history.steps[-1]) if len(history.steps) else None,
        num_steps=len(history.steps),
        num_losses=len(history.losses),
        num_parameters=len(history.parameters),
        not_observed=tuple(_not_observed(readings)),
        notes=tuple(_notes(readings, non_finite, whole)),
    )


def _is_any_gradient_known(history: History) -> bool:
    known = np.isfinite(history.statistics.get("norm", np.empty(0))).any()
    return bool(known or np.isfinite(history.global_norm).any())


def _last_run(history: History) -> History:
    """Keep what comes after the last place where steps do not rise."""
    rows, losses = _rising(history.steps), _rising(history.loss_steps)
    return history if rows.all() and losses.all() else keep(history, rows, losses)


def _rising(steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    again = np.flatnonzero(np.diff(steps) <= 0)
    return np.arange(len(steps)) > (again[-1] if len(again) else -1)


def _folded(findings: Sequence[Finding], history: History) -> Iterator[Finding]:
    """Put each finding under the one that explains it, the root that began first."""
    # A cause is sought for each, and followed upwards to one without; earlier ones are asked first,
    # and of two that explain each other only the later gives way, so there is no circle.
    waiting = sorted(findings, key=lambda each: (each.since_step, _ORDER[each.symptom]))
    cause = {place: _cause(place, waiting, history) for place in range(len(waiting))}
    followers: dict[int, list[Finding]] = {}
    for place, each in enumerate(waiting):
        root = place
        while (above := cause[root]) is not None:
            root = above
        if root != place:
            followers.setdefault(root, []).append(each)
    for place, each in enumerate(waiting):
        if cause[place] is None:
            yield replace(each, followed_by=tuple(followers.get(place, ())))


def _cause(place: int, findings: Sequence[Finding], history: History) -> int | None:
    """Find what explains a finding; of two that explain each other, the earlier one counts."""
    own = findings[place]
    for other, each in enumerate(findings):
        if other == place or not _explains(each, own, history):
            continue
        if other < place or not _explains(own, each, history):
            return other
    return None


def _explains(root: Finding, other: Finding, history: History) -> bool:
    if other.symptom not in SYMPTOMS[root.symptom].explains or root.severity == "warning":
        return False
    if other.symptom in _OF_THE_RUN and root.until_step is None:
        return True
    earlier = int(np.searchsorted(history.steps, root.since_step, side="right"))
    slack = int(history.steps[max(0, earlier - 1 - _SLACK)]) if earlier else 0
    return other.since_step >= min(slack, root.since_step)


def _not_observed(readings: Readings) -> Iterator[str]:
    history = readings.history
    yield from _not_observed_of_losses(readings)
    if not _is_any_gradient_known(history):
        yield "No gradient was read, so this says nothing about it."
        return
    if not history.parameters:
        yield "Only the norm of the whole gradient is known, so no module can be named."
    elif not readings.families:
        yield (
            f"The model has fewer than {LEAST} layers of one kind, so layers are not compared with "
            "each other."
        )
    if history.parameters and not readings.has("update_ratio"):
        yield "Updates were not recorded, so the learning rate is not judged."
    if history.parameters and not readings.has("weight_norm"):
        yield "Weights were not recorded, so initialisation is not judged."
    if readings.has("zero") and "smallest" not in history.statistics:
        yield "The smallest entries were not recorded, so underflow is not judged."
    if len(history.steps) < 9:
        recorded = were(len(history.steps), "step")
        yield f"Only {recorded} recorded: too few for a comparison with the past."


def _not_observed_of_losses(readings: Readings) -> Iterator[str]:
    history, course = readings.history, readings.course
    if not len(history.losses):
        how = "" if history.understood else " (monitor.loss(value) tells it)"
        yield f"No loss was seen, so its course is not judged{how}."
    elif len(history.losses) < LEAST_LOSSES:
        seen = were(len(history.losses), "loss", "losses")
        yield f"Only {seen} seen: too few to judge their course."
    elif history.of_rewards:
        yield (
            "The log tells rewards, so the loss is a policy's: it measures no error, and its "
            "course is not judged."
        )
    elif course.is_signed:
        yield (
            "The loss is zero or negative at times, as that of a policy gradient or of a density "
            "is: it measures no error, so its course is not judged."
        )
    elif course.begins_at_zero:
        yield "The loss begins at zero, so it measures no error, and its course is not judged."


def _notes(readings: Readings, non_finite: NonFinite, whole: History) -> Iterator[str]:
    history = readings.history
    if len(history.steps) < len(whole.steps) or len(history.losses) < len(whole.losses):
        yield "Steps begin again in this log: only the last run is judged."
    left_out = len(non_finite.skipped)
    if left_out:
        told = were(left_out, "step")
        yield f"{told} left out by the gradient scaler, which is its way to find a factor."
    for event in history.events:
        if event.what == "unwatched":
            yield _ended(event, history)
    frozen = sum(not info.trainable for info in history.parameters)
    if frozen:
        yield f"{frozen} of {len(history.parameters)} parameters are frozen."
    keys = [info.name for info in history.parameters if info.name.endswith(_KEY_BIASES)]
    if keys:
        yield (
            f"The gradients of {', '.join(keys[:2])}{' and others' if len(keys) > 2 else ''} are "
            "close to zero, as they must be: a softmax does not change with what is added to all "
            "its inputs."
        )


def _ended(event: Event, history: History) -> str:
    """Describe that the watch failed, and up to which step the verdict therefore holds."""
    last = int(history.steps[-1]) if len(history.steps) else 0
    text = event.text[:_MOST_TOLD].rstrip(".") or f"The watch has ended at step {event.step}"
    later = history.steps[history.steps > event.step]
    if len(later):
        return f"{text}. Steps up to {int(later[0])}, where another went on, are not judged."
    return f"{text}. The verdict holds up to step {last} only."
