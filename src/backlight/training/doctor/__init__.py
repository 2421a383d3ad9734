"""From the history of a training run to what is wrong with it: where, since when, and why."""

from backlight.training.doctor.catalogue import SYMPTOMS, Symptom
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.doctor.findings import Diagnosis, Finding, Place, Severity, Verdict

__all__ = [
    "SYMPTOMS",
    "Diagnosis",
    "Finding",
    "Place",
    "Severity",
    "Symptom",
    "Verdict",
    "diagnose",
]
