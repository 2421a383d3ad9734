"""Write down what one small run of every command and lab leaves, so that moving code changes none.

    python tests/move/freeze.py            # writes tests/move/frozen.json anew
    python tests/move/freeze.py --compare  # says what differs from it

Arrays and tables are kept as digests of their bytes (an archive array by array), text and JSON with
times, versions and commits masked, pictures by their names alone. The script and its file go when
the house stands.
"""

import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import yaml

HERE = Path(__file__).parent
FROZEN = HERE / "frozen.json"
sys.path.insert(0, str(HERE.parent))


def flags(**options: Any) -> list[str]:
    """Write options as words of a command line; a flag for each of several values."""
    return [
        word
        for name, values in options.items()
        for value in (values if isinstance(values, tuple) else (values,))
        for word in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
    ]


GPT = {"block_size": 8, "batch_size": 2, "n_layer": 1, "n_head": 2, "n_embd": 16}
LABS = {
    "ln-jacobian": {"num_steps": 3, **GPT},
    "learning-rules": {"num_steps": 4, **GPT},
    "surrogate-norms": {"num_steps": 3, "seeds": 2, **GPT},
    "norm-placement": {
        "seeds": 2,
        "depths": (2, 4),
        "width": 8,
        "positions": 4,
        "num_steps": 4,
        "warmup_steps": 2,
        "training_seeds": 2,
        "n_layer": 2,
        "n_embd": 8,
        "block_size": 8,
        "batch_size": 2,
    },
    "initialisation": {
        "seeds": 2,
        "width": 8,
        "depth": 4,
        "depths": (2, 4),
        "n_head": 2,
        "n_embd": 8,
        "positions": 4,
    },
    "rank-collapse": {"seeds": 2, "depths": (2, 4), "width": 8, "positions": 4},
    "recurrence": {"seeds": 2, "num_steps": 20, "width": 4, "n_layer": 1, "n_embd": 8},
    "softmax-scale": {"seeds": 2, "widths": (64, 128), "num_keys": 4, "num_queries": 8},
    "clipping": {"seeds": 2, "num_steps": 20},
}
MODEL = {"model_name": "llama", "device": "cpu"}
CORPUS = {**MODEL, "dataset": "rows.txt", "batch_size": 3, "max_length": 20}
FEATURES = {**CORPUS, "sae_path": "dictionaries", "allow_poor_reconstruction": True}
COMMANDS = {
    "layers": ["layers", *flags(**CORPUS, aggregation_mode="both")],
    "layers_rms_resid": ["layers", *flags(**CORPUS, aggregation_mode="rms", site="resid.post")],
    "layers_values": ["layers", *flags(**CORPUS, aggregate_by="values", layers="0,2")],
    "layers_grad_x_act": ["layers", *flags(**CORPUS, aggregate_by="grad_x_act", layers=1)],
    "sae_replace": ["sae", *flags(**FEATURES)],
    "sae_error": ["sae", *flags(**FEATURES, splice="error", aggregation_mode="rms")],
    "sae_active": ["sae", *flags(**FEATURES, active_only=True, layers=1)],
    "tokens_distance": ["tokens", "configs/distance.yaml", *flags(n_samples=12)],
    "tokens_template": ["tokens", "configs/capitals.yaml", *flags(**MODEL)],
    "flow": ["flow", *flags(**CORPUS)],
    "train-sae": [
        "train-sae",
        *flags(**MODEL, dataset="rows.txt", layer=1, num_features=48, num_tokens=200, k=6),
        *flags(epochs=3, max_length=20, tokens_per_step=64),
    ],
    "train-world": ["train-world", "world.yaml"],
    **{f"lab_{name}": ["lab", name, *flags(**own, device="cpu")] for name, own in LABS.items()},
}
MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z)?"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? ?(s|ms|minutes?|seconds?|tokens/s|µs)\b"), "<seconds>"),
    (re.compile(r"\b[0-9a-f]{40}\b\+?"), "<commit>"),
)
TIMES = re.compile(r"second|tim(e|ing)|started|per_s|_ms|speed|version|commit|platform|python$")
VERSIONED = ("backlight", "torch", "transformers", "numpy", "tokenizers")


def prepare() -> None:
    """Write models, texts, dictionaries and configs into the working directory."""
    from backlight.dictionaries.formats import saelens
    from backlight.world.cities import write_cities
    from zoo.cities import SMALL_TRAINING, make_cities
    from zoo.dictionaries import random_dictionary
    from zoo.folders import lines, save_causal

    save_causal(Path("llama"))
    Path("rows.txt").write_text("\n".join(["too short", *lines(14)]) + "\n", encoding="utf-8")
    for layer in range(3):
        saelens.write(
            random_dictionary(32, dtype=torch.float32, seed=layer),
            Path("dictionaries") / f"layer_{layer}",
            model_name="llama",
            hook_name=f"blocks.{layer}.hook_mlp_out",
        )
    points = np.random.default_rng(5).integers((-1800, -900), (1800, 900), size=(60, 2))
    write_cities(make_cities(points.tolist()), Path("cities.csv"))
    Path("world.yaml").write_text(
        yaml.safe_dump({**SMALL_TRAINING, "cities_csv": "cities.csv"}), encoding="utf-8"
    )
    shutil.copytree(HERE.parents[1] / "configs", "configs")


def run_all(told: Callable[[str], None]) -> dict[str, Any]:
    """Carry out every command in a folder of its own, and give what each left and printed."""
    from backlight import cli

    found: dict[str, Any] = {}
    scratch = (
        Path(tempfile.gettempdir()) / "backlight-freeze"
    )  # runs keep the paths of dictionaries
    scratch.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch)
        home = Path.cwd()
        os.chdir(scratch)
        try:
            prepare()
            for name, words in COMMANDS.items():
                told(name)
                torch.manual_seed(0)
                out, err = io.StringIO(), io.StringIO()
                with redirect_stdout(out), redirect_stderr(err):
                    status = cli.main([*words, "--output_dir", f"out/{name}"])
                found[name] = {
                    "status": status,
                    "printed": _masked(out.getvalue() if status == 0 else err.getvalue()),
                    "files": dict(_files(Path("out") / name)),
                }
            for name in ("layers", "flow", "tokens_distance", "lab_clipping", "sae_replace"):
                told(f"report {name}")
                out = io.StringIO()
                with redirect_stdout(out):
                    status = cli.main(["report", f"out/{name}"])
                found[f"report_{name}"] = {"status": status, "printed": _masked(out.getvalue())}
            told("sites")
            with redirect_stdout(io.StringIO()) as out:
                cli.main(["sites", "llama"])
            found["sites"] = {"printed": _masked(out.getvalue())}
        finally:
            os.chdir(home)
    return found


def _files(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), _content(path)


def _content(path: Path) -> Any:
    if path.suffix in {".png", ".svg", ".html"}:
        return "picture"
    if path.name.startswith("timing_"):
        return "times"
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {key: _digest_of(arrays[key]) for key in sorted(arrays)}
    if path.suffix == ".npy":
        return _digest_of(np.load(path, allow_pickle=False))
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix in {".yaml", ".txt", ".md", ".jsonl"}:
        return _masked(path.read_text(encoding="utf-8"))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _digest_of(array: np.ndarray) -> str:
    if array.dtype.kind == "U" and array.ndim == 0:  # metadata, as JSON
        return json.dumps(_without_times(json.loads(str(array))), sort_keys=True)
    data = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"{array.dtype.str} {list(array.shape)} {data}"


def _masked(text: str) -> list[str]:
    """Give the lines of a text, without times, versions and commits."""
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    kept = []
    for line in text.splitlines():
        name = line.strip().partition(":")[0]
        hidden = name in VERSIONED or (":" in line and " " not in name and TIMES.search(name))
        kept.append(f"{name}: <masked>" if hidden else line.rstrip())
    return kept


def _without_times(value: Any, key: str = "") -> Any:
    if TIMES.search(key) or key in VERSIONED or key.endswith("sha256"):
        return "<masked>"
    if isinstance(value, dict):
        return {name: _without_times(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_times(inner) for inner in value]
    return "\n".join(_masked(value)) if isinstance(value, str) else value


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Tell where two records differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({**before, **now}):
            if name not in now:
                yield f"{path}/{name}: gone"
            elif name not in before:
                yield f"{path}/{name}: new"
            else:
                yield from differences(before[name], now[name], f"{path}/{name}")
    elif isinstance(before, list) and isinstance(now, list):
        for index in range(max(len(before), len(now))):
            old = before[index] if index < len(before) else None
            new = now[index] if index < len(now) else None
            yield from differences(old, new, f"{path}[{index}]")
    elif before != now:
        yield f"{path}: {before!r} -> {now!r}"


def _tell(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def main() -> int:
    """Write the record, or compare with it."""
    torch.set_num_threads(1)
    found = run_all(lambda name: _tell(sys.stderr, name))
    if "--compare" not in sys.argv:
        text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
        FROZEN.write_text(text + "\n", encoding="utf-8")
        return 0
    listed = list(differences(json.loads(FROZEN.read_text(encoding="utf-8")), found))
    _tell(sys.stdout, "\n".join(listed) or "nothing differs")
    return 1 if listed else 0


if __name__ == "__main__":
    sys.exit(main())
