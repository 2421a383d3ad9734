"""The index of all runs in a browser: looked through, sorted, searched, with a link to each run."""

import shutil
from urllib.parse import unquote, urlsplit

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


def test_runs_are_sorted_and_searched_and_lead_to_their_pages(folder, opened, pictured):
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

    # Following the link would count as a request of this page.
    address = found.get_by_role("link", name=HOSTILE).evaluate("link => link.href")
    assert unquote(urlsplit(address).path) == str(folder / HOSTILE / "index.html")
    assert urlsplit(address).scheme == "file"
