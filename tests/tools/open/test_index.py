"""The index of all runs: what is found, what is told of it, and what harms nothing."""

import io
import json
import math
import os
import shutil
import struct
import sys
import zlib

import pytest
from PIL import Image

from backlight import cli
from backlight.report.page.document import document
from backlight.report.page.views import Page
from backlight.runs.directory import RunDirectory
from backlight.tools.open import finding, index
from backlight.tools.open.finding import find_runs
from backlight.tools.open.index import index_of
from backlight.tools.open.rows import row_of
from backlight.tools.open.thumbnails import thumbnail

HOSTILE = "<img src=x onerror=alert(1)>"


def begun(path, **options):
    """Start a run."""
    origin = {"command": "layers", "started": "2026-01-31T12:30:00+00:00"}
    return RunDirectory.create(path, options, {**origin, "corpus": {"num_tokens": 70}})


def ended(path, **options):
    """Start a run and finish it."""
    run = begun(path, **options)
    run.finish({"num_tokens": 62})
    return run


def with_page(run, content):
    """Give a finished run a page."""
    run.take_up()
    run.write_bytes("index.html", content)
    run.list_again()


def watched(path, losses=(2.0, 1.9)):
    """A directory as ``backlight.watch`` writes it."""
    path.mkdir(parents=True)
    header = {"format": 1, "started": "2026-01-30T12:30:00+00:00", "parameters": []}
    (path / "watch.json").write_text(json.dumps(header))
    loss = {"kind": "loss", "steps": [1, 2], "losses": list(losses)}
    (path / "steps.jsonl").write_text(json.dumps(loss) + "\n")


def shown(root):
    """Make the index of a folder: its page, its view and the rows of its table."""
    page = index_of(root, find_runs(root))
    (view,) = page.views
    names = list(view.table)
    columns = [view.table[name].tolist() for name in names]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return page, view, {row["run"]: row for row in rows}


def test_a_finished_run_is_told_with_its_picture_and_its_link(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "deep" / "run")

    page, view, rows = shown(tmp_path)

    row = rows["deep/run"]
    assert row["command"] == "layers"
    assert row["model"].endswith("llama")
    assert row["text"].endswith("rows.txt")
    assert row["started"][:2] == "20"
    assert row["started"][10] == " "
    assert row["state"] == "finished"
    assert row["num_tokens"] == 240 or row["num_tokens"] > 0
    assert view.links["run"] == ["deep/run/index.html"]
    picture = Image.open(io.BytesIO(view.pictures[0]))
    assert max(picture.size) <= 240
    assert len(view.pictures[0]) < 20_000
    assert page.summary[0] == "There is 1 run: 1 finished."
    assert b"deep/run/index.html" in document(page)


def test_the_newest_run_comes_first_whatever_it_is(tmp_path):
    ended(tmp_path / "a")
    watched(tmp_path / "b")
    ended(tmp_path / "c").path.joinpath("config.yaml").write_text(
        "provenance: {command: flow, started: '2027-01-01T00:00:00+00:00'}\n"
    )

    _, view, rows = shown(tmp_path)

    assert list(rows) == ["c", "a", "b"]
    assert view.pictures == []
    assert [rows[name]["command"] for name in rows] == ["flow", "layers", "training"]


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ((), "not finished: begun"),
        (("checkpoint.npz",), "not finished: measuring"),
        (("checkpoint.npz", "tables/layers.csv"), "not finished: writing"),
        (("checkpoint.npz", "tables/layers.csv", "depth_profile.png"), "not finished: drawing"),
    ],
)
def test_an_unfinished_run_says_in_which_part_it_is(tmp_path, written, state):
    run = begun(tmp_path / "run")
    for name in written:
        run.write_bytes(name, b"")

    row = row_of(tmp_path / "run", judges=True)

    assert row.state == state
    assert row.num_tokens == 70
    assert not row.has_page


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.yaml", "a: [1"),
        ("config.yaml", "provenance: 3"),
        ("config.yaml", "just text"),
        ("manifest.json", "{"),
        ("manifest.json", '{"files": ["x"], "sha256": {}}'),
        ("watch.json", "{"),
        ("watch.json", "[" * 9000),
        ("watch.json", '{"format": 9, "parameters": []}'),
    ],
)
def test_a_damaged_directory_has_a_line_that_says_so(tmp_path, file, content):
    ended(tmp_path / "run") if file != "watch.json" else watched(tmp_path / "run")
    ended(tmp_path / "well")
    (tmp_path / "run" / file).write_text(content)

    page, view, rows = shown(tmp_path)

    assert rows["run"]["state"] == "damaged, or not of backlight"
    assert rows["well"]["state"] == "finished"
    assert view.links["run"] == ["", ""]
    assert page.summary[0] == "There are 2 runs: 1 finished, 1 damaged, or not of backlight."


@pytest.mark.parametrize(
    "value", [None, "many", [1], {"a": 1}, True, -3, 10**400, math.inf, math.nan]
)
def test_numbers_and_texts_of_any_kind_are_told_or_left_out(tmp_path, value):
    run = begun(tmp_path / "run", model_name=value, dataset=value)
    run.finish({"num_tokens": value})
    manifest = tmp_path / "run" / "manifest.json"
    if isinstance(value, float):
        manifest.write_text(manifest.read_text().replace('"num_tokens": null', '"num_tokens": NaN'))

    page, _, rows = shown(tmp_path)

    assert math.isnan(rows["run"]["num_tokens"])
    assert len(rows["run"]["model"]) <= 200
    assert document(page)


def test_a_short_log_is_judged_and_a_long_one_is_not(tmp_path):
    watched(tmp_path / "short", losses=(2.0, "NaN"))
    watched(tmp_path / "long")
    with (tmp_path / "long" / "steps.jsonl").open("a") as log:
        log.write(" " * 2**20)

    _, _, rows = shown(tmp_path)

    assert rows["short"]["state"] == "non-finite"
    assert rows["long"]["state"] == "recorded"
    assert rows["short"]["started"] == "2026-01-30 12:30"


def test_where_there_are_many_runs_trainings_are_not_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_MOST_JUDGED", 1)
    watched(tmp_path / "a")
    watched(tmp_path / "b")

    assert {row["state"] for row in shown(tmp_path)[2].values()} == {"recorded"}


def test_links_are_counted_and_never_followed(tmp_path):
    ended(tmp_path / "runs" / "mine")
    ended(tmp_path / "elsewhere" / "theirs")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "out").symlink_to(tmp_path / "elsewhere")

    page, _, rows = shown(tmp_path / "runs")

    assert list(rows) == ["mine"]
    assert "There are 2 links to other folders, which were not followed." in page.summary


def test_a_folder_that_is_reached_through_a_link_is_searched(tmp_path):
    ended(tmp_path / "real" / "mine")
    (tmp_path / "runs").symlink_to(tmp_path / "real")

    assert list(shown(tmp_path / "runs")[2]) == ["mine"]


def test_hidden_and_very_deep_folders_are_passed_over(tmp_path):
    ended(tmp_path / ".hidden" / "a")
    ended(tmp_path / "1" / "2" / "3" / "b")
    ended(tmp_path / "1" / "2" / "3" / "4" / "c")

    assert list(shown(tmp_path)[2]) == ["1/2/3/b"]


def test_a_run_inside_of_a_run_is_part_of_it(tmp_path):
    ended(tmp_path / "run")
    ended(tmp_path / "run" / "inner")

    assert list(shown(tmp_path)[2]) == ["run"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_cannot_be_read_is_counted(tmp_path):
    ended(tmp_path / "run")
    (tmp_path / "closed").mkdir(mode=0)

    page, _, _ = shown(tmp_path)

    assert "There is 1 folder that cannot be read." in page.summary


def test_a_search_that_finds_too_much_ends_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "MOST_RUNS", 3)
    for number in range(5):
        ended(tmp_path / f"run_{number}")

    page, _, rows = shown(tmp_path)

    assert list(rows) == ["run_0", "run_1", "run_2"]
    assert any(sentence.startswith("There are more") for sentence in page.summary)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        (HOSTILE, "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E/index.html"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29/index.html"),
        ("a#b?c%2e", "a%23b%3Fc%252e/index.html"),
        ("\udcff", "%FF/index.html"),
    ],
)
def test_any_name_is_a_relative_link_and_text_that_is_read(tmp_path, name, link):
    run = ended(tmp_path / "run", model_name=HOSTILE, dataset="</script>")
    with_page(run, document(Page(title="T", summary=[], views=[])))
    try:
        run.path.rename(tmp_path / name)
    except OSError:
        pytest.skip("no such names here")

    page, view, _ = shown(tmp_path)

    assert view.links["run"] == [link]
    content = document(page)
    assert b"<img" not in content
    assert content.count(b"</script>") == content.count(b"<script")


def test_a_page_in_which_a_stranger_may_run_a_script_has_no_link(tmp_path):
    run = ended(tmp_path / "run")
    with_page(run, b'<meta name="generator" content="backlight"><script>alert(1)</script>')
    (tmp_path / "lone").mkdir()
    ended(tmp_path / "lone" / "run").path.joinpath("index.html").write_bytes(
        document(Page(title="not the run's own", summary=[], views=[]))
    )

    assert shown(tmp_path)[1].links["run"] == ["", ""]


def test_the_pages_of_all_runs_are_written_when_that_is_asked_for(finished_run, tmp_path, capsys):
    shutil.copytree(finished_run, tmp_path / "run")
    watched(tmp_path / "training")
    begun(tmp_path / "begun")
    (tmp_path / "run" / "index.html").unlink()

    assert cli.main(["open", str(tmp_path), "--again", "--no-browser"]) == 0

    assert "is not finished; go on with it by --resume" in capsys.readouterr().err
    links = shown(tmp_path)[1].links["run"]
    assert sorted(links) == ["", "run/index.html", "training/index.html"]


def test_a_strangers_index_is_not_replaced(tmp_path, capsys):
    ended(tmp_path / "run")
    (tmp_path / "index.html").write_text("mine")

    assert cli.main(["open", str(tmp_path), "--no-browser"]) == 2
    assert "is no page that backlight made, so it is not replaced; move it" in (
        capsys.readouterr().err
    )
    assert (tmp_path / "index.html").read_text() == "mine"


def test_an_index_is_written_over_an_older_one(tmp_path, capsys):
    ended(tmp_path / "first")
    assert cli.main(["open", str(tmp_path), "--no-browser"]) == 0
    ended(tmp_path / "second")

    assert cli.main(["open", str(tmp_path), "--no-browser"]) == 0

    assert "There are 2 runs: 2 finished." in (tmp_path / "index.html").read_text()


def png(width, height, data):
    """Write a PNG by hand, whatever it claims to be."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture at all, but some bytes", png(50_000, 50_000, b"\0"), png(9, 9, b""), b"GIF"],
    ids=["empty", "text", "bomb", "cut", "short"],
)
def test_what_is_no_picture_is_none(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)

    assert thumbnail(tmp_path, {"a.png"}, "layers") == b""


def test_a_picture_behind_a_link_is_none(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "b.png")
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")

    assert thumbnail(tmp_path, {"a.png"}, "layers") == b""
    assert thumbnail(tmp_path, {"b.png"}, "layers")


def test_the_picture_that_says_most_is_taken(tmp_path):
    for name, colour in (("a.png", "red"), ("depth_profile.png", "blue")):
        Image.new("RGB", (30, 20), colour).save(tmp_path / name)

    def first(command):
        small = thumbnail(tmp_path, {"a.png", "depth_profile.png"}, command)
        return Image.open(io.BytesIO(small)).convert("RGB").getpixel((0, 0))

    assert first("layers") == (0, 0, 255)
    assert first("lab clipping") == (255, 0, 0)


def test_without_pillow_there_are_no_pictures(tmp_path, monkeypatch):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)

    assert thumbnail(tmp_path, {"a.png"}, "layers") == b""
