"""``backlight open`` on runs, logs and folders; what it says, and what the browser gets."""

import json
import shutil
import webbrowser

import pytest

from backlight import cli
from backlight.runs.directory import RunDirectory
from backlight.surveys.loading import load_results, page_file
from backlight.tools.open.command import page_at
from backlight.tools.open.options import OpenConfig

LINE = '{"step": 1, "loss": 2.1, "grad_norm": 0.3}\n'
GENERATOR = b'<!DOCTYPE html><meta name="generator" content="backlight">'
SIGNS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """A machine with a screen; what the browser was to open is collected."""
    for name in SIGNS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    seen = []
    monkeypatch.setattr(webbrowser, "open", lambda address: seen.append(address) or True)
    return seen


@pytest.fixture
def finished(finished_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def expected(finished):
    """The page of the copy, which names its new place."""
    return page_file(load_results(finished))


def without_page(run):
    """Make a run one that never had a page."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"].remove("index.html")
    del manifest["sha256"]["index.html"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "index.html").unlink()


def test_the_page_of_a_run_is_opened_and_stays_as_it_is(finished, opened, capsys):
    before = (finished / "index.html").stat()

    assert cli.main(["open", str(finished)]) == 0

    page = finished / "index.html"
    assert opened == [page.as_uri()]
    assert capsys.readouterr().out == f"{page} is shown in the browser.\n"
    assert (page.stat().st_ino, page.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_run_without_a_page_gets_one_that_is_its_own(finished, expected):
    without_page(finished)

    assert page_at(OpenConfig(run_dir=finished)).read_bytes() == expected

    assert "index.html" in RunDirectory(finished).manifest()["files"]
    assert RunDirectory(finished).read("index.html") == expected
    assert load_results(finished).tables


def test_a_page_is_written_anew_when_it_was_lost_or_that_is_asked_for(finished, expected):
    (finished / "index.html").unlink()
    assert page_at(OpenConfig(run_dir=finished)).read_bytes() == expected
    (finished / "index.html").write_bytes(expected + b"more")

    assert page_at(OpenConfig(run_dir=finished)).read_bytes() == expected + b"more"
    assert page_at(OpenConfig(run_dir=finished, again=True)).read_bytes() == expected


def test_a_strangers_file_in_a_run_is_neither_opened_nor_replaced(finished, opened, capsys):
    without_page(finished)
    (finished / "index.html").write_text("<script>alert(1)</script>")

    assert cli.main(["open", str(finished)]) == 2

    assert "was not written by this run; move it away" in capsys.readouterr().err
    assert (finished / "index.html").read_text() == "<script>alert(1)</script>"
    assert not opened


def test_the_page_of_a_run_read_from_disk_is_that_of_the_run_just_measured(finished_run):
    written = (finished_run / "index.html").read_bytes()

    assert page_file(load_results(finished_run)) == written


def test_a_page_in_which_a_stranger_may_run_a_script_is_written_anew(finished, expected, opened):
    run = RunDirectory(finished)
    run.take_up()
    run.write_bytes("index.html", GENERATOR + b"<script>alert(1)</script>")
    run.list_again()

    assert cli.main(["open", str(finished)]) == 0

    assert (finished / "index.html").read_bytes() == expected
    assert opened == [(finished / "index.html").as_uri()]


def test_a_file_in_which_a_stranger_may_run_a_script_is_not_opened(tmp_path, opened, capsys):
    (tmp_path / "page.html").write_bytes(GENERATOR + b"<script>alert(1)</script>")

    assert cli.main(["open", str(tmp_path / "page.html")]) == 2

    assert "is a page of another version of backlight, or a stranger's" in capsys.readouterr().err
    assert not opened


def test_a_link_in_place_of_a_page_is_not_followed(finished, tmp_path, opened, capsys):
    (finished / "index.html").rename(tmp_path / "elsewhere.html")
    (finished / "index.html").symlink_to(tmp_path / "elsewhere.html")

    assert cli.main(["open", str(finished)]) == 2

    assert "is a symbolic link" in capsys.readouterr().err
    assert not opened


def test_an_unfinished_run_says_how_to_go_on(tmp_path, opened, capsys):
    RunDirectory.create(tmp_path / "run", {}, {"command": "layers"})

    assert cli.main(["open", str(tmp_path / "run")]) == 2

    assert "is not finished; go on with it by --resume" in capsys.readouterr().err
    assert not opened


def test_a_run_of_a_command_that_has_no_page_says_so(tmp_path, capsys):
    run = RunDirectory.create(tmp_path / "run", {}, {"command": "train-world"})
    run.write_json("metadata.json", {})
    run.write_arrays("consolidated_results.npz", {})
    run.finish({})

    assert cli.main(["open", str(run.path)]) == 2
    assert "has no page: those of `backlight layers`" in capsys.readouterr().err


def test_a_run_whose_files_lack_what_its_page_shows_says_so(finished, capsys):
    run = RunDirectory.create(finished.parent / "bare", {}, {"command": "layers"})
    run.write_json("metadata.json", {})
    run.write_arrays("consolidated_results.npz", {})
    run.write_text("tables/layers.csv", "layer\n0\n")
    run.finish({})

    assert cli.main(["open", str(run.path)]) == 2
    assert "cannot be written: its files do not hold what it shows" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["run", "log", "folder"])
def test_statistics_that_would_change_nothing_are_refused(finished, kind, capsys):
    (finished.parent / "log").write_text(LINE)
    place = {"run": finished, "log": finished.parent / "log", "folder": finished.parent}[kind]

    assert cli.main(["open", str(place), "--statistics", "mean"]) == 2
    assert "--statistics chooses what the page of a run of sae holds" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a b", "<img src=x onerror=alert(1)>", "#?%&'\"", "\u202e", "é"])
def test_any_name_becomes_an_address_that_is_the_file_and_a_line_that_is_read(
    tmp_path, name, opened, capsys
):
    (tmp_path / name).mkdir()
    (tmp_path / name / "log.jsonl").write_text(LINE)

    assert cli.main(["open", str(tmp_path / name / "log.jsonl")]) == 0

    page = tmp_path / name / "log.jsonl.html"
    assert opened == [page.as_uri()]
    assert not set(opened[0]) & set("<> #?\"'")
    assert "\u202e" not in capsys.readouterr().out
    assert b"<img" not in page.read_bytes()


@pytest.mark.parametrize("trouble", ["none", "no screen", "no_browser", "error", "refusal"])
def test_where_no_browser_is_opened_the_path_alone_is_printed(
    tmp_path, trouble, opened, monkeypatch, capsys
):
    (tmp_path / "log.jsonl").write_text(LINE)

    def fail(address):
        raise webbrowser.Error("could not locate runnable browser")

    if trouble == "no screen":
        monkeypatch.delenv("DISPLAY")
        monkeypatch.setattr("sys.platform", "linux")
    if trouble == "error":
        monkeypatch.setattr(webbrowser, "open", fail)
    if trouble == "refusal":
        monkeypatch.setattr(webbrowser, "open", lambda address: False)
    words = ["--no-browser"] if trouble == "no_browser" else []

    assert cli.main(["open", str(tmp_path / "log.jsonl"), *words]) == 0

    page = f"{tmp_path / 'log.jsonl.html'}"
    told = f"{page} is shown in the browser.\n" if trouble == "none" else f"{page}\n"
    assert capsys.readouterr().out == told
    assert len(opened) == (trouble == "none")


def watched(path):
    """A directory as ``backlight.watch`` writes it, of a training that nothing is known of."""
    path.mkdir(parents=True)
    header = {"format": 1, "started": "2026-01-31T12:30:00+00:00", "parameters": []}
    (path / "watch.json").write_text(json.dumps(header))
    loss = {"kind": "loss", "steps": [1, 2], "losses": [2.0, 1.9]}
    (path / "steps.jsonl").write_text(json.dumps(loss) + "\n")
    return path


@pytest.mark.parametrize("inside", ["", "steps.jsonl", "watch.json"])
def test_a_training_gets_the_doctors_page_each_time_anew(tmp_path, inside):
    run = watched(tmp_path / "run")
    (run / "index.html").write_bytes(page_at(OpenConfig(run_dir=run)).read_bytes() + b"old")

    page = page_at(OpenConfig(run_dir=run / inside))

    assert page == run / "index.html"
    text = page.read_text()
    assert not text.endswith("old")
    assert "nothing to judge" in text
    assert "2 losses are known" in text
    assert f"backlight doctor {run}" in text


def test_a_strangers_page_beside_a_log_is_not_replaced(tmp_path, capsys):
    run = watched(tmp_path / "run")
    (run / "index.html").write_text("mine")
    (tmp_path / "log.jsonl").write_text(LINE)
    (tmp_path / "log.jsonl.html").symlink_to(run / "index.html")

    for path in (run, tmp_path / "log.jsonl"):
        assert cli.main(["open", str(path)]) == 2
        assert "is no page that backlight made" in capsys.readouterr().err
    assert (run / "index.html").read_text() == "mine"


def test_a_page_itself_can_be_opened(finished, opened):
    (finished.parent / "log.jsonl").write_text(LINE)
    pages = [finished / "index.html", page_at(OpenConfig(run_dir=finished.parent / "log.jsonl"))]

    for page in pages:
        assert cli.main(["open", str(page)]) == 0

    assert opened == [page.as_uri() for page in pages]


def test_a_folder_with_the_log_of_another_tool_is_judged(tmp_path):
    state = {"log_history": [{"step": s, "loss": 2.0, "grad_norm": 0.5} for s in range(1, 9)]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))

    page = page_at(OpenConfig(run_dir=tmp_path))

    assert page == tmp_path / "index.html"
    assert "8 steps of loss and gradient norm" in page.read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "There is no run, log or folder"), ("empty", "nor is there a log"), ("\0", "no")],
)
def test_what_is_nothing_is_a_users_mistake(tmp_path, name, message, capsys):
    (tmp_path / "empty").mkdir()

    assert cli.main(["open", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_without_a_name_the_runs_of_this_folder_are_opened(finished, opened, monkeypatch, capsys):
    (finished.parent / "runs").mkdir()
    finished.rename(finished.parent / "runs" / "mine")
    monkeypatch.chdir(finished.parent)

    assert cli.main(["open"]) == 0

    assert opened == [(finished.parent / "runs" / "index.html").as_uri()]
    assert "runs/index.html" in capsys.readouterr().out
