"""The index of all runs in a browser: looked through, sorted, searched, and followed to a run."""

import shutil

import pytest

from backlight import cli
from backlight.runs.directory import RunDirectory
from zoo.browsing import section, wait_for

HOSTILE = "<img src=x onerror=alert(1)>#?%41"


@pytest.fixture
def folder(finished_run, tmp_path):
    """A folder of a finished run under a hostile name, and of one that was begun."""
    runs = tmp_path / "runs"
    shutil.copytree(finished_run, runs / HOSTILE)
    origin = {"command": "sae", "started": "2020-01-31T12:30:00+00:00"}
    RunDirectory.create(runs / "begun", {"model_name": "</script>"}, origin)
    assert cli.main(["open", str(runs), "--again", "--no-browser"]) == 0
    return runs


def names(found):
    """Read the first column of the table."""
    return [cell.inner_text() for cell in found.locator("tbody tr > :first-child").all()]


def test_runs_are_sorted_searched_and_followed(folder, opened, pictured):
    page = opened(folder / "index.html")
    found = section(page, "Runs")
    assert names(found) == [HOSTILE, "begun"]
    assert found.locator("img").evaluate("image => image.naturalWidth") > 100

    found.get_by_role("button", name="state").click()
    assert names(found) == [HOSTILE, "begun"]
    found.get_by_role("button", name="state").click()
    assert names(found) == ["begun", HOSTILE]
    found.get_by_role("searchbox").fill("sae")
    wait_for(page, lambda: names(found) == ["begun"], "the run that was begun")
    found.get_by_role("searchbox").fill("")
    pictured(page, "index-of-runs")

    found.get_by_role("link", name=HOSTILE).click()
    wait_for(page, lambda: "backlight layers" in page.title(), "the page of the run")
