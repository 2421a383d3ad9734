"""A diagnosis in plain words, for the terminal and for a page."""

from typing import Literal

from backlight.training.doctor.catalogue import SYMPTOMS
from backlight.training.doctor.findings import Diagnosis, Finding

_MEANINGS = {
    "vanishing": "Gradients, or the steps made of them, are too small to learn from.",
    "exploding": "Gradients are far too large, somewhere or at some steps.",
    "unstable": "There are gradients, but the loss jumps, rises or does not fall, or steps are far "
    "too large for the weights.",
    "non-finite": "There are NaN or infinite numbers; nothing is learned from there on.",
    "dead": "Some parameters do not learn at all.",
    "nothing to judge": "No gradient was read, so this is no sign of health.",
}


def tone(diagnosis: Diagnosis) -> Literal["healthy", "warning", "error"]:
    """Return whether the verdict is a good one, a bad one, or none."""
    if diagnosis.verdict == "nothing to judge":
        return "warning"
    return "healthy" if diagnosis.is_healthy else "error"


def meaning(diagnosis: Diagnosis) -> str:
    """Describe what the verdict means, and how many of all symptoms were found."""
    found = [each.symptom for one in diagnosis.findings for each in (one, *one.followed_by)]
    number = len(set(found))
    if not number and diagnosis.verdict == "nothing to judge":
        return _MEANINGS[diagnosis.verdict]  # that none was found would sound like health
    told = {0: "none was", 1: "1 was"}.get(number, f"{number} were")
    warnings = all(each.severity == "warning" for each in diagnosis.findings)
    only = {0: "", 1: ", as a warning"}.get(number, ", as warnings") * warnings
    counted = f"Of {len(SYMPTOMS)} symptoms, {told} found{only}."
    return f"{_MEANINGS.get(diagnosis.verdict, '')} {counted}".lstrip()


def recorded(diagnosis: Diagnosis) -> str:
    """Describe what was looked at."""
    count = diagnosis.num_losses
    losses = {0: "", 1: " 1 loss is known."}.get(count, f" {count} losses are known.")
    if not diagnosis.num_steps:
        return f"No step was recorded.{losses}"
    several = diagnosis.num_steps > 1
    steps = f"{diagnosis.num_steps} recorded steps" if several else "1 recorded step"
    span = f"{diagnosis.first_step}" + (f" to {diagnosis.last_step}" if several else "")
    parameters = {0: "the gradient as a whole", 1: "1 parameter"}.get(
        diagnosis.num_parameters, f"{diagnosis.num_parameters} parameters"
    )
    return f"Looked at {steps} ({span}) of {parameters}.{losses}"


def heading(finding: Finding) -> str:
    """Name a finding, its place and its time."""
    warning = " (warning)" if finding.severity == "warning" else ""
    title = finding.title[0].upper() + finding.title[1:]
    return f"{title}: {finding.place}, {finding.when}{warning}"
