"""What can happen to a file of a run, by name: each harm takes the file's path."""

import hashlib
import json
import os

import numpy as np

__all__ = ["ARRAY_HARMS", "HARMS", "forged", "harmed_arrays"]


def _cut(share):
    def harm(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return harm


def _flip(share):
    def harm(path):
        content = bytearray(path.read_bytes())
        content[int(share * (len(content) - 1))] ^= 0x10
        path.write_bytes(bytes(content))

    return harm


def _written(content):
    return lambda path: path.write_bytes(content)


def _replaced_by(make):
    def harm(path):
        path.unlink()
        make(path)

    return harm


def _swapped(path):
    other = max(
        (each for each in path.parent.iterdir() if each.is_file() and each != path), key=str
    )
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def _linked(path):
    moved = path.parent.parent / f"elsewhere_{path.name}"
    moved.write_bytes(b"somebody's own file")
    path.unlink()
    path.symlink_to(moved)


HARMS = {
    "empty": _written(b""),
    "cut to a third": _cut(0.33),
    "cut by its end": _cut(0.97),
    "first byte flipped": _flip(0.0),
    "middle byte flipped": _flip(0.5),
    "last byte flipped": _flip(1.0),
    "garbage": _written(bytes(range(256))),
    "zeros": _written(bytes(1000)),
    "no text": _written(b"\xff\xfe\x00\xd8"),
    "a list": _written(b"[1, 2]"),
    "null": _written(b"null\n"),
    "nested": _written(b"[" * 20_000),
    "a huge number": _written(b"9" * 10_000),
    "escapes": _written(b'{"\x1b[2J": "\xe2\x80\xae"}'),
    "a pickle": _written(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."),
    "gone": lambda path: path.unlink(),
    "a folder": _replaced_by(lambda path: path.mkdir()),
    "a pipe": _replaced_by(os.mkfifo),
    "a link to nothing": _replaced_by(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _replaced_by(lambda path: path.symlink_to(path.name)),
    "a link outside": _linked,
    "a device": _replaced_by(lambda path: path.symlink_to("/dev/zero")),
    "swapped with another": _swapped,
}

ARRAY_HARMS = {
    "one missing": lambda state: state.pop(max(state)),
    "one more": lambda state: state.update({"bank/layers.9.mlp.out/sum": np.zeros(3)}),
    "negative counts": lambda state: state.update({"loss/counts": -state["loss/counts"]}),
    "counts of text": lambda state: state.update({"loss/counts": np.array(["many", "more"])}),
    "counts as real numbers": lambda state: state.update(
        {"loss/counts": state["loss/counts"] + 0.5}
    ),
    "more counts": lambda state: state.update({"loss/counts": np.arange(7)}),
    "no counts": lambda state: state.update({"loss/counts": np.zeros(0, dtype=np.int64)}),
    "far too many batches": lambda state: state.update({"loss/counts": np.array([10**12, 1])}),
    "NaN in a sum": lambda state: _first_sum(state, np.nan),
    "infinity in a sum": lambda state: _first_sum(state, np.inf),
    "half the width": lambda state: _each(state, lambda array: array[: len(array) // 2]),
    "single precision": lambda state: _each(state, lambda array: array.astype(np.float32)),
    "transposed": lambda state: _each(state, lambda array: array.T.reshape(1, -1)),
    "complex": lambda state: _each(state, lambda array: array.astype(complex)),
    "flags": lambda state: _each(state, lambda array: array != 0),
    "one site less": lambda state: _drop(state, "bank/layers.2"),
    "a site renamed": lambda state: _rename(state, "bank/layers.2", "bank/layers.1"),
    "names that climb": lambda state: _rename(state, "bank/layers.2", "bank/../../victim"),
    "a loss of NaN": lambda state: state.update({"loss/nats": np.array(np.nan)}),
    "nothing": lambda state: state.clear(),
}


def _first_sum(state, value):
    name = next(name for name in state if name.endswith("above"))
    state[name] = np.full_like(state[name], value)


def _each(state, change):
    for name, array in state.items():
        if array.ndim and not name.startswith("sha256"):
            state[name] = change(array)


def _drop(state, start):
    for name in [name for name in state if name.startswith(start)]:
        del state[name]


def _rename(state, start, other):
    for name in [name for name in state if name.startswith(start)]:
        state[name.replace(start, other)] = state.pop(name)


def harmed_arrays(path, harm):
    """Change the arrays of an archive, as a person does with numpy."""
    with np.load(path, allow_pickle=False) as arrays:
        state = dict(arrays)
    ARRAY_HARMS[harm](state)
    np.savez(path, **state)


def forged(run, change):
    """Change a run as a stranger would who knows its manifest: digests fit again afterwards.

    Args:
        run: The run directory.
        change: Takes the directory.

    Returns:
        The directory.
    """
    change(run)
    manifest = json.loads((run / "manifest.json").read_text())
    files = {
        file.relative_to(run).as_posix(): file
        for file in run.rglob("*")
        if file.is_file() and file.name != "manifest.json"
    }
    manifest["files"] = sorted(files)
    manifest["sha256"] = {
        name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run
