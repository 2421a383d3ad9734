"""Commands that are killed before a given file operation, by a process that forks for each.

As a script it is the process that forks: it has everything loaded, has never gone backward (torch
cannot after a fork), and runs one command line for each line of JSON that it reads.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Forge", "Outcome", "forge"]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_PATHS = {"os.mkdir": 2, "os.rmdir": 1, "os.remove": 1, "os.rename": 2}  # where dir_fd stands


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; ``status`` is None if it was killed."""

    status: int | None
    said: str


class Forge:
    """Runs command lines, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, words: Sequence[object], *, folder: Path, kill_before: int = 0) -> Outcome:
        """Run a command in a folder; kill it before its n-th file operation there, 0 for none."""
        job = {"words": [str(word) for word in words], "folder": str(folder), "n": kill_before}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def forge() -> Iterator[Forge]:
    """Start the process that forks."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Forge(process)
    finally:
        process.kill()
        process.communicate()


def _main() -> None:
    _load()
    for line in sys.stdin:
        job = json.loads(line)
        told = _one(job["words"], Path(job["folder"]), job["n"])
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def _load() -> None:
    """Load everything, and make small work of what is not about files."""
    import torch
    import transformers
    from matplotlib.figure import Figure

    from backlight.report import rendering
    from backlight.report.drawing import Drawing
    from backlight.surveys import SURVEYS
    from backlight.surveys.driver import conduct
    from backlight.surveys.driver.words import progress
    from backlight.tools.report import command as _report  # noqa: F401
    from backlight.tools.train_sae import command as _sae  # noqa: F401
    from backlight.tools.train_world import command as _world  # noqa: F401

    torch.set_num_threads(1)
    assert transformers.LlamaForCausalLM
    assert transformers.AutoTokenizer
    assert conduct
    progress.CHECKPOINT_SECONDS, progress.CHECKPOINT_PATIENCE = 0.0, 0
    rendering.rendered = lambda name, figure: b"pixels"
    pictures = [Drawing(name=name, make=Figure) for name in ("depth.png", "figures/one.png")]
    for survey in SURVEYS.values():
        for door in ("measure", "tables", "figures", "printed"):
            survey.door(door)
    SURVEYS["layers"].door("figures").draw = lambda results: iter(pictures)


def _one(words: list[str], folder: Path, n: int) -> dict[str, object]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status, said = _command(words, folder, n)
        with os.fdopen(writing, "w") as pipe:
            json.dump({"status": status, "said": said}, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return {"status": None, "said": ""}
    return json.loads(told or '{"status": -1, "said": "a traceback"}')


def _command(words: list[str], folder: Path, n: int) -> tuple[int, str]:
    from backlight import cli

    os.chdir(folder)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if n:
            _arm(folder, n)
        status = cli.main(words)
    return status, said.getvalue()


def _arm(folder: Path, n: int) -> None:
    """Make this process die before its n-th file operation below a folder."""
    left, real = [n], os.fsync

    def count(descriptor: int | None = None) -> None:
        left[0] -= 1
        if left[0] == 0:
            if descriptor is not None:  # not all of it has come to the disk
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, values: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = values
            if isinstance(flags, int) and flags & _WRITES and _is_below(path, folder):
                count()
        elif event in _PATHS and (values[_PATHS[event]] != -1 or _is_below(values[0], folder)):
            count()

    def fsync(descriptor: int) -> None:
        count(descriptor)
        real(descriptor)

    os.fsync = fsync
    sys.addaudithook(watch)


def _is_below(path: object, folder: Path) -> bool:
    if not isinstance(path, (str, os.PathLike)):
        return False
    return (Path.cwd() / path).is_relative_to(folder)


if __name__ == "__main__":
    sys.path.pop(0)  # a file here is called like a package there
    _main()
