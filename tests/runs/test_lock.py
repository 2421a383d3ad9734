import gc
import subprocess
import sys

import pytest

from backlight.errors import RunDirectoryError
from backlight.runs.directory import RunDirectory
from backlight.runs.lock import lock

CODE = """
import sys
from pathlib import Path
from backlight.runs.directory import RunDirectory
run = RunDirectory.create(Path(sys.argv[1]), {}, {"command": "layers"})
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that has begun a run and is in the middle of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.communicate()


def test_a_run_has_one_writer_at_a_time(tmp_path, other):
    run = RunDirectory(tmp_path / "run")
    for attempt in (
        run.take_up,
        lambda: RunDirectory.create(run.path, {}, {"command": "layers"}, overwrite=True),
    ):
        with pytest.raises(RunDirectoryError, match=r"Another process is writing the run in .*run"):
            attempt()
    other.kill()
    other.wait()

    run.take_up()
    assert run.provenance() == {"command": "layers"}


def test_an_interrupted_notebook_may_go_on_with_its_own_run(tmp_path):
    first = RunDirectory.create(tmp_path, {}, {"command": "layers"})

    RunDirectory(tmp_path).take_up()

    assert first.exists()


def test_a_lock_ends_with_what_holds_it(tmp_path):
    assert lock(tmp_path) is lock(tmp_path)
    held = lock(tmp_path)
    del held
    gc.collect()

    assert lock(tmp_path) is not None
