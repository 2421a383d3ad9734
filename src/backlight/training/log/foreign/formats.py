"""Which tool wrote a log, by what only its logs have."""

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The marks of a tool's logs; all that are given must be there.

    Attributes:
        name: What it is called.
        keys: Names that its logs have.
        line: What one of the first lines that count looks like.
        file: What the file is called.
    """

    name: str
    keys: frozenset[str] = frozenset()
    line: re.Pattern[str] | None = None
    file: str = ""


def _format(name: str, *keys: str, line: str = "", file: str = "") -> Format:
    pattern = re.compile(line, re.IGNORECASE) if line else None
    return Format(name=name, keys=frozenset(keys), line=pattern, file=file)


FORMATS = (
    _format("LLaMA-Factory", "current_steps", "total_steps"),
    _format("ms-swift", "global_step/max_steps"),
    _format("fairseq", line=r"\| INFO \| train(?:_inner)? \||\bnum_updates="),
    _format("Transformers console", "loss", "epoch", line=r"\{\s*'"),
    _format("Transformers console", "loss", "learning_rate", line=r"\{\s*'"),
    _format("Transformers Trainer", "loss", "learning_rate", "epoch"),
    _format("Transformers Trainer", "loss", "grad_norm", "epoch", "learning_rate"),
    _format("Weights & Biases", "_step"),
    _format("Weights & Biases", "_timestamp"),
    _format("nanoGPT", line=r"\biter \d+: loss "),
    _format("torchtitan", line=r"\bstep:\s+\d+\s{2,}loss:\s"),
    _format("Megatron-LM", line=r"\biteration\s+\d+/\s*\d+ \|.*\| lm loss: "),
    _format("DeepSpeed", line=r"\[Rank \d+\] step=\d+, skipped="),
    _format("litgpt", line=r"\biter \d+ step \d+"),
    _format("torchtune", line=r"\bStep \d+ \| loss:"),
    _format("nanochat", line=r"\bstep \d+(?:/\d+)? \([\d.]+%\) \| loss"),
    _format("OLMo", line=r"train/CrossEntropyLoss|train/CE.loss|total_grad_norm="),
    _format("Composer", line=r"\[batch=\d+/\d+\]|\bl2_norm/grad/global: |\bloss/train/total: "),
    _format("Keras", line=r"━| - loss: "),
    _format("NeMo", "reduced_train_loss"),
    _format("Lightning", "trainer/global_step"),
    _format("Lightning", "epoch", "step", file="metrics.csv"),
)


def format_of(file: str, keys: Collection[str], sample: str) -> str | None:
    """Name the tool that wrote a log.

    Args:
        file: What the file is called.
        keys: All names of its quantities.
        sample: The first lines that count; empty if the log has no lines.

    Returns:
        The tool, None if it is not known.
    """
    names = set(keys)
    for each in FORMATS:
        if each.file not in ("", file) or not each.keys <= names:
            continue
        if each.line is None or each.line.search(sample):
            return each.name
    return None
