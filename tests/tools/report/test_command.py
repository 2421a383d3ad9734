import shutil
import subprocess
import sys

import pytest

import backlight
from backlight import cli
from backlight.errors import RunDirectoryError
from backlight.report.dimensions import variants_of
from backlight.runs.directory import RunDirectory
from backlight.surveys.loading import load_results, page_file
from backlight.tools.report.command import redraw
from zoo.folders import contents

pytestmark = pytest.mark.usefixtures("far_from_results")


@pytest.fixture
def finished(finished_run, tmp_path):
    """A copy of a finished run, whose page names its new place."""
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run"))
    run.take_up()
    run.write_bytes("index.html", page_file(load_results(run.path)))
    run.list_again()
    return run.path


def figures(folder):
    return {name: content for name, content in contents(folder).items() if name.endswith(".png")}


def test_redrawn_figures_are_the_same_bytes(finished, capsys):
    before = contents(finished)
    for name in figures(finished):
        (finished / name).unlink()

    assert cli.main(["report", str(finished)]) == 0

    assert contents(finished) == before
    assert not any(b"Matplotlib" in png for png in figures(finished).values())
    assert (
        f"{len(figures(finished))} figures and the page redrawn in {finished}"
        in capsys.readouterr().out
    )


def test_the_page_is_written_anew(finished):
    expected = (finished / "index.html").read_bytes()
    (finished / "index.html").unlink()

    redraw(finished, "overview")

    assert (finished / "index.html").read_bytes() == expected
    assert RunDirectory(finished).read("index.html") == expected


def test_overviews_alone_are_redrawn_and_the_others_stay(finished, capsys):
    before = contents(finished)
    single = [name for name in figures(finished) if name.startswith("layer_")]
    (finished / "depth_profile.png").unlink()

    assert cli.main(["report", str(finished), "--figures", "overview"]) == 0

    assert contents(finished) == before
    redrawn = len(figures(finished)) - len(single)
    assert f"{redrawn} figures and the page redrawn in {finished}" in capsys.readouterr().out


def test_figures_that_were_not_wanted_are_drawn_later(options, finished, tmp_path):
    asked = {"layers": "0,2", "aggregation_mode": "both", "output_dir": tmp_path / "bare"}
    backlight.layers(**options, **asked, figures="none")
    assert not figures(tmp_path / "bare")

    redraw(tmp_path / "bare")

    assert figures(tmp_path / "bare") == figures(finished)
    manifest = RunDirectory(tmp_path / "bare").manifest()
    assert set(figures(finished)) <= set(manifest["files"])


def test_a_report_needs_no_torch(options, tmp_path):
    backlight.layers(**options, layers="1", output_dir=tmp_path / "run")
    before = figures(tmp_path / "run")
    (tmp_path / "run" / "depth_profile.png").unlink()
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from backlight.cli import main\n"
        "sys.exit(main(['report', 'run']))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 figures and the page redrawn in run\n"
    assert figures(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("asked", "units"),
    [
        ({}, {"mean_abs": "nats/unit"}),
        ({"power": 2}, {"mean_abs": "(nats/unit)^2"}),
        ({"normalize": "sum"}, {"mean_abs": "1 on average by sum"}),
        (
            {"normalize": "both", "aggregation_mode": "rms"},
            {
                "rms_norm_sum": "1 on average by sum",
                "rms_norm_sum_abs": "1 on average by sum_abs",
            },
        ),
        (
            {"aggregation_mode": "both", "aggregate_by": "values"},
            {"mean": "units", "mean_abs": "units"},
        ),
    ],
)
def test_each_aggregate_is_shown_in_its_unit(options, asked, units):
    results = backlight.layers(**options, layers="1", **asked)

    variants = variants_of(results, "dimension")
    assert {each.name: each.tables[1].units[each.mode] for each in variants} == units


def test_a_directory_that_is_no_run_is_refused(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    assert cli.main(["report", str(tmp_path / "lost")]) == 2
    assert "There is no run directory or file" in capsys.readouterr().err


def test_an_unfinished_run_has_no_report(tmp_path, capsys):
    RunDirectory.create(tmp_path / "run", {}, {"command": "layers"})

    assert cli.main(["report", str(tmp_path / "run")]) == 2
    assert "is not finished; go on with it by --resume" in capsys.readouterr().err


def test_a_single_file_has_no_figures(finished):
    with pytest.raises(RunDirectoryError, match=r"has no figures to draw"):
        redraw(finished / "consolidated_results.npz")
