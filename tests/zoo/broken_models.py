"""A model folder on disk, broken in one way at a time."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Change = Callable[[Path], None]
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
DEEP = "[" * 100_000


def configured(**values: Any) -> Change:
    """Replace values of the configuration."""
    return edited(CONFIG, lambda config: {**config, **values})


def edited(name: str, edit: Callable[[Any], Any]) -> Change:
    """Read a JSON file, and write what becomes of it."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(edit(json.loads(path.read_text()))), encoding="utf-8")

    return change


def written(name: str, content: str | bytes) -> Change:
    """Write a file, over the one that was there."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: void((folder / name).write_bytes(data))


def cut(name: str, size: int) -> Change:
    """Keep only the first bytes of a file."""
    return lambda folder: os.truncate(folder / name, size)


def dropped(*names: str) -> Change:
    """Take files away."""
    return lambda folder: void([(folder / name).unlink() for name in names])


def emptied(folder: Path) -> None:
    """Take all files away."""
    for path in folder.iterdir():
        path.unlink()


def replaced(name: str, make: Callable[[Path], Any]) -> Change:
    """Put something that is no file in a file's place."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def weights(edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Change:
    """Read the weights, and write what becomes of them."""

    def change(folder: Path) -> None:
        tensors = {key: value.clone() for key, value in edit(load_file(folder / WEIGHTS)).items()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return change


def weight(name: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Replace one weight."""
    return weights(lambda tensors: {**tensors, name: edit(tensors[name])})


def without(name: str) -> Change:
    """Leave one weight out."""
    return weights(lambda tensors: {key: v for key, v in tensors.items() if key != name})


def renamed(rename: Callable[[str], str]) -> Change:
    """Rename the weights."""
    return weights(lambda tensors: {rename(key): value for key, value in tensors.items()})


def header(content: object, data: bytes = b"") -> Change:
    """Write a safetensors file by hand."""
    text = json.dumps(content).encode()
    return written(WEIGHTS, struct.pack("<Q", len(text)) + text + data)


def pickled(make: Callable[[dict[str, torch.Tensor]], Any], **options: Any) -> Change:
    """Save as a pickle of torch instead."""

    def change(folder: Path) -> None:
        torch.save(make(load_file(folder / WEIGHTS)), folder / "pytorch_model.bin", **options)
        (folder / WEIGHTS).unlink()

    return change


def sharded(
    index: Callable[[dict[str, Any]], Any] = lambda index: index,
    afterwards: Change = lambda folder: None,
) -> Change:
    """Save the weights in two files with an index."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        names, places = sorted(tensors), {}
        for number, part in enumerate((names[::2], names[1::2]), start=1):
            file = f"model-0000{number}-of-00002.safetensors"
            save_file({name: tensors[name] for name in part}, folder / file, {"format": "pt"})
            places |= dict.fromkeys(part, file)
        found = index({"metadata": {"total_size": 1}, "weight_map": places})
        content = found if isinstance(found, str) else json.dumps(found)
        (folder / "model.safetensors.index.json").write_text(content, encoding="utf-8")
        afterwards(folder)

    return change


def both(*changes: Change) -> Change:
    """Change one thing after another."""
    return lambda folder: void([change(folder) for change in changes])


def void(done: Any) -> None:
    """Forget what a call gave."""
    del done


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.victim}",))
