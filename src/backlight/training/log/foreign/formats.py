"""Which tool wrote a log, by what only its logs have."""

import re
from collections.abc import Collection
from typing import NamedTuple


class _Format(NamedTuple):
    """The marks of a tool's logs; all that are given must be there.

    Attributes:
        name: What it is called.
        keys: Names that its logs have, with blanks between them.
        line: What one of the first lines that count looks like, as a regular expression.
        file: What the file is called.
    """

    name: str
    keys: str = ""
    line: str = ""
    file: str = ""


_FORMATS = (
    _Format("LLaMA-Factory", "current_steps total_steps"),
    _Format("ms-swift", "global_step/max_steps"),
    _Format("fairseq", line=r"\| INFO \| train(?:_inner)? \||\bnum_updates="),
    _Format("Transformers console", "loss epoch", line=r"\{\s*'"),
    _Format("Transformers console", "loss learning_rate", line=r"\{\s*'"),
    _Format("Transformers Trainer", "loss learning_rate epoch"),
    _Format("Transformers Trainer", "loss grad_norm epoch learning_rate"),
    _Format("Weights & Biases", "_step"),
    _Format("Weights & Biases", "_timestamp"),
    _Format("nanoGPT", line=r"\biter \d+: loss "),
    _Format("torchtitan", line=r"\bstep:\s+\d+\s{2,}loss:\s"),
    _Format("Megatron-LM", line=r"\biteration\s+\d+/\s*\d+ \|.*\| lm loss: "),
    _Format("DeepSpeed", line=r"\[Rank \d+\] step=\d+, skipped="),
    _Format("litgpt", line=r"\biter \d+ step \d+"),
    _Format("torchtune", line=r"\bStep \d+ \| loss:"),
    _Format("nanochat", line=r"\bstep \d+(?:/\d+)? \([\d.]+%\) \| loss"),
    _Format("OLMo", line=r"train/CrossEntropyLoss|train/CE.loss|total_grad_norm="),
    _Format("Composer", line=r"\[batch=\d+/\d+\]|\bl2_norm/grad/global: |\bloss/train/total: "),
    _Format("Keras", line=r"━| - loss: "),
    _Format("NeMo", "reduced_train_loss"),
    _Format("Lightning", "trainer/global_step"),
    _Format("Lightning", "epoch step", file="metrics.csv"),
)


def format_of(file: str, keys: Collection[str], sample: str) -> str | None:
    """Return the name of the tool that wrote a log.

    Args:
        file: What the file is called.
        keys: All names of its quantities.
        sample: The first lines that count; empty if the log has no lines.

    Returns:
        The tool, None if it is not known.
    """
    names = set(keys)
    for each in _FORMATS:
        fits = each.file in ("", file) and names.issuperset(each.keys.split())
        if fits and re.search(each.line, sample, re.IGNORECASE):  # an empty one is anywhere
            return each.name
    return None
