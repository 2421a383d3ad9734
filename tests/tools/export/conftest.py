"""A comparison of two runs of features, and its runs, as a user has them on disk."""

from pathlib import Path

import pytest

import backlight
from backlight import cli
from zoo.dictionaries import written
from zoo.folders import lines


@pytest.fixture(scope="session")
def compared(tmp_path_factory, model_folder):
    """Write runs ``a`` and ``b`` of two layers, and their comparison ``both`` with two lists."""
    folder = tmp_path_factory.mktemp("exported")
    written(folder / "saes", (0, 2))
    for name, rows in (("a", lines(12)[:6]), ("b", lines(30, seed=5))):
        (folder / f"{name}.txt").write_text("\n".join(rows))
        backlight.sae(
            model_name=str(model_folder),
            dataset=str(folder / f"{name}.txt"),
            sae_path=str(folder / "saes"),
            device="cpu",
            splice="error",
            record_activity=True,
            allow_poor_reconstruction=True,
            max_length=20,
            figures="none",
            output_dir=folder / name,
        )
    words = ["compare", str(folder / "a"), str(folder / "b"), "--rank_by", "dsg,gradient", "--q"]
    there = ["0.9", "--output_dir", str(folder / "both"), "--figures", "none", "--quiet"]
    assert cli.main([*words, *there]) == 0
    return folder


@pytest.fixture
def exported(place, capsys):
    """Export from the command line, and return what was printed and what went wrong."""

    def export(run, to, output, *words):
        status = cli.main(["export", str(run), "--to", to, "--output", str(output), *words])
        shown = capsys.readouterr()
        return status, shown.out, " ".join(shown.err.split())

    assert Path.cwd() == place
    return export
