"""`backlight sae` at full size: 24 dictionaries of 65,536 features, a model like Qwen2.5-0.5B.

    python benchmarks/full_size.py --dataset TEXT [--passages 500] [--scratch FOLDER]

Builds a model with Qwen2.5-0.5B's configuration and random weights (numbers do not matter, sizes
do), 24 random dictionaries (11 GB on disk), runs `backlight sae --splice error --aggregation_mode
rms` as a process, and prints its time and its peak memory, beside that of the model alone.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from backlight.dictionaries.activations import TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats import saelens
from backlight.models.loading.smollm2 import smollm2_folder

LAYERS, WIDTH, FEATURES = 24, 896, 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="shakespeare")
    parser.add_argument("--passages", type=int, default=500)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--options", nargs="*", default=["--splice", "error"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = asked.scratch or Path(temporary)
        build(scratch)
        alone = measured([sys.executable, "-c", LOAD.format(str(scratch / "model"))])
        words = [
            *("--model_name", str(scratch / "model"), "--sae_path", str(scratch / "saes")),
            *("--dataset", asked.dataset, "--num_samples", str(asked.passages)),
            *("--batch_size", "8", "--aggregation_mode", "rms", *asked.options),
            *("--allow_poor_reconstruction", "--output_dir", str(scratch / "run"), "--overwrite"),
        ]
        survey = measured([sys.executable, "-m", "backlight", "sae", *words])
        print((scratch / "run" / "timing_summary.txt").read_text().split("Per layer")[0])
    for name, (seconds, peak) in {"model loaded": alone, "backlight sae": survey}.items():
        print(f"{name:<16}{seconds:10.0f} s{peak:10.2f} GB")


LOAD = "import backlight; backlight.load_subject({!r}, device='cpu')"


def build(scratch: Path) -> None:
    if not (scratch / "model").exists():
        config = Qwen2Config(
            vocab_size=151_936,
            hidden_size=WIDTH,
            intermediate_size=4864,
            num_hidden_layers=LAYERS,
            num_attention_heads=14,
            num_key_value_heads=2,
            max_position_embeddings=32_768,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=True,
        )
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(scratch / "model")
        AutoTokenizer.from_pretrained(smollm2_folder()).save_pretrained(scratch / "model")
    for layer in range(LAYERS):
        folder = scratch / "saes" / f"layer_{layer}"
        if not folder.exists():
            torch.manual_seed(layer)
            rows = torch.nn.functional.normalize(torch.randn(FEATURES, WIDTH), dim=1)
            encoder = LinearEncoder(
                rows=rows,
                bias=torch.zeros(FEATURES),
                input_bias=torch.zeros(WIDTH),
                activation=TopK(k=64),
            )
            card = Card(format="random", path="", architecture="topk")
            made = Dictionary(encoder=encoder, rows=rows, bias=torch.zeros(WIDTH), card=card)
            hook = f"blocks.{layer}.hook_mlp_out"
            saelens.write(made, folder, model_name="model", hook_name=hook)


def measured(command: list[str]) -> tuple[float, float]:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return time.perf_counter() - start, peak / 1e9


if __name__ == "__main__":
    main()
