"""Results read back with how they are shown: by the survey, or experiment, that found them."""

from dataclasses import replace
from typing import Any

import numpy as np

from backlight.errors import RunDirectoryError, quoted
from backlight.report.page.document import document
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results
from backlight.runs.results import load_results as read_results
from backlight.runs.urls import Place
from backlight.surveys import SURVEYS
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.results.presenting import LabPresentation, SurveyPresentation


def presentation_of(command: str) -> SurveyPresentation | LabPresentation | None:
    """Find how the runs of a command are shown.

    Args:
        command: Such as ``layers`` or ``lab clipping``, as a run has it in its provenance.

    Returns:
        How; None if its runs have no figures.
    """
    if command in SURVEYS:
        return SurveyPresentation(SURVEYS[command])
    return LabPresentation(command) if command.startswith("lab ") else None


def survey_of(directory: RunDirectory) -> Survey:
    """Find of which survey a run is.

    Args:
        directory: The run.

    Returns:
        The survey.

    Raises:
        RunDirectoryError: If it is no run of a survey.
    """
    command = directory.provenance().get("command")
    if command not in SURVEYS:
        raise RunDirectoryError(
            f"{quoted(directory.path)} holds no run of a survey, but of {quoted(command)}."
        )
    return SURVEYS[str(command)]


def load_results(path: str | Place) -> Results:
    """Read a finished run directory, or one ``.npz``, ``.npy``, ``.csv``, ``.json`` or ``.yaml``.

    Every file of a run that is read is first held against the SHA-256 in its manifest. Nothing of
    PyTorch is loaded.

    Args:
        path: The directory or file, also on another file system, such as ``s3://bucket/run``.

    Returns:
        Its arrays, tables and metadata; of a whole run also its figures, drawn when asked for.

    Raises:
        RunDirectoryError: If it cannot be read as what it is, or a file of a run is missing or was
            changed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import backlight
        >>> from backlight.tables import Table
        >>> norms = Table(name="norms", columns={"norm": np.array([1.5, 0.5])})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "norms.csv").write_text(norms.to_csv())
        ...     results = backlight.load_results(Path(folder, "norms.csv"))
        >>> results.tables["norms"]["norm"]
        array([1.5, 0.5])
    """
    results = read_results(path)
    command = results.provenance.get("command") if results.tables else None
    return replace(results, presentation=presentation_of(str(command)))


def page_file(results: Results, **chosen: Any) -> bytes:
    """Write the page of a finished run.

    Args:
        results: The run, as ``load_results`` read it.
        **chosen: What the page shows of all that it could, as the survey takes it.

    Returns:
        The file.

    Raises:
        RunDirectoryError: If it is no run that has a page, or one whose files do not hold what the
            page shows.
    """
    shown, place = results.presentation, quoted(results.path)
    if shown is None:
        raise RunDirectoryError(
            f"The run in {place} has no page: those of `backlight layers`, `sae`, `tokens`, `flow` "
            "and `lab` have one."
        )
    try:
        with np.errstate(all="ignore"):  # a stranger's numbers may have any size
            return document(shown.page(results, **chosen))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunDirectoryError(
            f"The page of the run in {place} cannot be written: its files do not hold what it "
            f"shows ({type(error).__name__}: {quoted(str(error))}). Measure again."
        ) from error
