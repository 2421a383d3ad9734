"""Folders of text in nanoGPT's form."""

import json

__all__ = ["nanogpt_files"]


def nanogpt_files(characters):
    """The files of a folder, by name, with ``meta.json`` in the place of ``meta.pkl``."""
    vocabulary = list(characters.vocabulary)
    meta = {
        "vocab_size": len(vocabulary),
        "itos": vocabulary,
        "stoi": {character: number for number, character in enumerate(vocabulary)},
    }
    return {
        "train.bin": characters.train.astype("<u2").tobytes(),
        "val.bin": characters.val.astype("<u2").tobytes(),
        "meta.json": json.dumps(meta, ensure_ascii=False, indent=1).encode(),
    }
