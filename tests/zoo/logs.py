"""Logs as other tools write them, all of one training."""

import json
import math
import random
from dataclasses import dataclass

__all__ = ["CURVE", "LOGS", "Log", "json_lines", "trainer_state"]


def _curve(num_steps):
    chance = random.Random(0)
    return [
        (
            10 * place,
            round(2 * math.exp(-place / 60) + 1.5 + chance.gauss(0, 0.03), 5),
            round(abs(0.4 + chance.gauss(0, 0.05)), 5),
            round(2e-5 * (1 - place / (num_steps + 1)), 9),
        )
        for place in range(1, num_steps + 1)
    ]


CURVE = _curve(60)
"""Step, loss, norm of the gradient, learning rate."""

_BAR = "━" * 20
_COLOUR = "\x1b[38;2;180;60;0m"
_OLD = "2026-05-18 16:04:46"


@dataclass(frozen=True, kw_only=True)
class Log:
    """A log that a tool wrote.

    Attributes:
        text: What stands in it.
        tool: Which tool wrote it, as the report says.
        steps: Its steps: those of the curve, or ``rows``, or ``epochs``.
        norms: It has norms of the gradient.
        told: What else the report says.
        file: What it is called.
    """

    text: str
    tool: str
    steps: str = "steps"
    norms: bool = True
    told: str = ""
    file: str = "log.txt"


def json_lines(rows=CURVE):
    return "".join(
        json.dumps({"step": step, "loss": loss, "grad_norm": norm}) + "\n"
        for step, loss, norm, _ in rows
    )


def trainer_state(history=None):
    """Write a state as the Trainer does: indented, with names in order."""
    rows = _trainer_rows() if history is None else history
    state = {"best_metric": None, "global_step": 600, "log_history": rows, "max_steps": 600}
    return json.dumps({**state, "stateful_callbacks": {"TrainerControl": {}}}, indent=2)


def _trainer_rows():
    rows = [
        {"epoch": s / 300, "grad_norm": n, "learning_rate": r, "loss": x, "step": s}
        for s, x, n, r in CURVE
    ]
    rows.insert(30, {"epoch": 1.0, "eval_loss": 1.9, "eval_runtime": 3.1, "step": 300})
    return [*rows, {"epoch": 2.0, "step": 600, "train_loss": 1.2, "train_runtime": 99.0}]


def _each(pattern, *rest):
    """Fill a pattern for each step: ``s``, loss ``x``, norm ``n``, rate ``r``, place ``i``."""
    lines = [pattern.format(s=s, x=x, n=n, r=r, i=i) for i, (s, x, n, r) in enumerate(CURVE, 1)]
    return "\n".join([*lines, *rest]) + "\n"


def _objects(make, *rest):
    return "".join(json.dumps(row) + "\n" for row in [*(make(*row) for row in CURVE), *rest])


def _columns():
    steps, losses, norms, _ = zip(*CURVE, strict=True)
    return {"step": steps, "loss": losses, "grad_norm": norms}


def _lightning():
    lines = ["epoch,grad_2.0_norm_total,lr-AdamW,step,train_loss_epoch,train_loss_step,val_loss"]
    for s, x, n, r in CURVE:
        lines += [f"0,,{r},{s},,,", f"0,,,{s},,{x},", f"0,{n},,{s},,,"]
        lines += [f"0,,,{s},,,1.9", f"0,,,{s},1.8,,"] if s == 300 else []
    return "\n".join(lines) + "\n"


_SUMMARY = "{'train_runtime': '99.1', 'train_samples_per_second': '3', 'train_loss': '1.7'}"

LOGS = {
    "trainer state": Log(
        text=trainer_state(),
        tool="Transformers Trainer",
        told="No steps: 1 row of evaluation, 1 row of summary.",
        file="trainer_state.json",
    ),
    "trainer state on one line": Log(
        text=json.dumps(json.loads(trainer_state())), tool="Transformers Trainer"
    ),
    "history as lines": Log(
        text="".join(json.dumps(row) + "\n" for row in _trainer_rows()), tool="Transformers Trainer"
    ),
    "JSON lines": Log(text=json_lines(), tool="JSON lines"),
    "JSON array": Log(text=json.dumps([json.loads(row) for row in json_lines().split("\n")[:-1]]),
                      tool="JSON"),
    "indented objects": Log(
        text="\n".join(
            json.dumps(json.loads(row), indent=1) for row in json_lines().split("\n")[:-1]
        ),
        tool="JSON",
    ),
    "columns": Log(text=json.dumps(_columns()), tool="JSON"),
    "pandas": Log(
        text=json.dumps({k: dict(enumerate(v)) for k, v in _columns().items()}), tool="JSON"
    ),
    "pandas, split": Log(
        text=json.dumps({"columns": list(_columns()), "index": [], "data": [r[:3] for r in CURVE]}),
        tool="JSON",
    ),
    "Keras history": Log(
        text=json.dumps({"loss": _columns()["loss"], "val_loss": _columns()["loss"]}),
        tool="JSON", steps="rows", norms=False,
    ),
    "strings": Log(
        text=_objects(lambda s, x, n, r: {"step": s, "loss": str(x), "grad_norm": f"{n}"}),
        tool="JSON lines",
    ),
    "float steps": Log(
        text=_objects(lambda s, x, n, r: {"step": float(s), "loss": x, "grad_norm": n}),
        tool="JSON lines",
    ),
    "other names": Log(
        text=_objects(lambda s, x, n, r: {"iteration": s, "Train Loss": x, "gradient-norm": n}),
        tool="JSON lines",
    ),
    "names in groups": Log(
        text=_objects(lambda s, x, n, r: {"step": s, "train": {"loss": x, "grad_norm": n},
                                          "eval": {"loss": 9.0}}),
        tool="JSON lines",
    ),
    "LLaMA-Factory": Log(
        text=_objects(
            lambda s, x, n, r: {"current_steps": s, "total_steps": 600, "loss": x, "lr": r},
            {"current_steps": 600, "total_steps": 600, "loss": None},
        ),
        tool="LLaMA-Factory", norms=False, file="trainer_log.jsonl",
    ),
    "LLaMA-Factory console": Log(
        text=_each("[INFO|x] callbacks:143 >> {{'loss': {x}, 'grad_norm': {n}, 'epoch': 0.1}}"),
        tool="Transformers console", steps="rows",
    ),
    "ms-swift": Log(
        text=_objects(
            lambda s, x, n, r: {"loss": x, "grad_norm": n, "global_step/max_steps": f"{s}/600"}
        ),
        tool="ms-swift", file="logging.jsonl",
    ),
    "W&B": Log(
        text=_objects(
            lambda s, x, n, r: {"_step": s // 10, "train/global_step": s, "train/loss": x,
                                "train/grad_norm": n, "gradients/a": {"bins": [1]}}
        ),
        tool="Weights & Biases",
    ),
    "W&B, only its own step": Log(
        text=_objects(lambda s, x, n, r: {"_step": s, "train/loss": x, "train/grad_norm": n}),
        tool="Weights & Biases",
    ),
    "W&B table": Log(
        text="_step,eval/loss,train/global_step,train/grad_norm,train/loss,train_runtime\n"
        + _each("{i},,{s},{n},{x},", "99,1.9,600,,,", "100,,600,,,99.0"),
        tool="Weights & Biases", file="export.csv",
        told="No steps: 1 row of evaluation, 1 row of summary.",
    ),
    "W&B page": Log(
        text='"Step","fiery-sun-1 - train/loss","fiery-sun-1 - train/loss__MIN"\n'
        + _each('"{s}","{x}","0"'),
        tool="CSV", norms=False, file="wandb_export.csv",
    ),
    "Lightning": Log(
        text=_lightning(), tool="Lightning", file="metrics.csv",
        told="Read from 'train_loss_step' and 'grad_2.0_norm_total'; not used: 'train_loss_epoch'.",
    ),
    "semicolons": Log(
        text="Step;Train Loss;Grad Norm\n" + _each("{s};{x};{n}").replace(".", ","), tool="CSV"
    ),
    "tabs and an index": Log(
        text="\tstep\tloss\tgrad_norm\n" + _each("{i}\t{s}.0\t{x}\t{n}"), tool="CSV"
    ),
    "Keras table": Log(
        text="epoch,accuracy,loss,val_loss\n" + _each("{i},0.5,{x},9"),
        tool="CSV", steps="epochs", norms=False,
    ),
    "TensorBoard download": Log(
        text="Wall time,Step,Value\n" + _each("1.5,{s},{x}"),
        tool="CSV", norms=False, file="run-a_tag-train_loss.csv",
    ),
    "nanoGPT": Log(
        text="tokens per iteration will be: 491,520\n"
        + _each("step {s}: train loss 9.5, val loss 9.6\niter {s}: loss {x}, time 9.3ms, mfu 1.3%"),
        tool="nanoGPT", norms=False, told="not used: 'train loss'",
    ),
    "torchtitan": Log(
        text=_each(f"[rank0]:[titan] {_OLD},338 - root - INFO - step: {{s}}  loss:  {{x}}  "
                   "grad_norm:  {n}  memory:  9.46GiB(64.99%)"),
        tool="torchtitan",
    ),
    "torchtitan in colours": Log(
        text=_each(f"\x1b[32m[rank0]: - \x1b[31mstep: {{s}}  \x1b[32mloss:  {{x}}  {_COLOUR}"
                   "grad_norm:  {n}\x1b[39m"),
        tool="torchtitan",
    ),
    "Transformers console": Log(
        text="  0%|          | 0/600 [00:00<?, ?it/s]\r"
        + _each("{{'loss': {x}, 'grad_norm': {n}, 'learning_rate': {r}, 'epoch': 0.1}}",
                "{'eval_loss': 1.9, 'epoch': 1.0}"),
        tool="Transformers console", steps="rows",
        told="Rows are counted as steps, since no step is in the log.",
    ),
    "Transformers 5 console": Log(
        text=_each("{{'loss': '{x}', 'grad_norm': '{n}', 'learning_rate': '{r}', 'epoch': '0.1'}}",
                   _SUMMARY),
        tool="Transformers console", steps="rows", told="No steps: 1 row of summary.",
    ),
    "Megatron-LM": Log(
        text=_each(f" [{_OLD}] iteration {{s:8d}}/     600 | consumed samples: 80 | elapsed time "
                   "per iteration (ms): 10.5 | learning rate: {r:.6E} | global batch size:     8 | "
                   "lm loss: {x:.6E} | mtp_1 loss: 9.1E+00 | loss scale: 1.0 | grad norm: {n} | "
                   "number of skipped iterations:   0 | number of nan iterations:   0 |",
                   " validation loss at iteration 600 | lm loss value: 1.0E+01 | "),
        tool="Megatron-LM",
    ),
    "DeepSpeed": Log(
        text=_each("[INFO] [logging.py:96:log_dist] [Rank 0] step={s}, skipped=0, lr=[{r}, {r}], "
                   "mom=[(0.9, 0.95)]\nsteps: {s} loss: {x} iter time (s): 0.5 samples/sec: 15.0"),
        tool="DeepSpeed", norms=False,
    ),
    "litgpt": Log(
        text=_each("Epoch 1 | iter {i} step {s} | loss train: {x}, val: n/a | iter time: 9.1 ms"),
        tool="litgpt", norms=False,
    ),
    "torchtune": Log(
        text=_each("Step {s} | loss:{x} lr:{r} tokens_per_second_per_gpu:9.1 grad_norm:{n} "),
        tool="torchtune",
    ),
    "nanochat": Log(
        text=_each("step {s:05d}/00600 (1.67%) | loss: {x} | grad norm: {n} | lrm: 1.00 | dt: 9ms",
                   "Step 00250 | Validation bpb: 1.0234"),
        tool="nanochat",
    ),
    "OLMo": Log(
        text=_each("2026-01-01\thost:0\tolmo.train:967\tINFO\t[step={s}/739328,epoch=0]\n"
                   "    optim/total_grad_norm={n}\n    train/CrossEntropyLoss={x}\n"
                   "    throughput/total_tokens=4,194,304"),
        tool="OLMo",
    ),
    "fairseq": Log(
        text=_each(f'{_OLD} | INFO | train_inner | {{{{"epoch": 1, "loss": "{{x}}", "num_updates": '
                   '"{s}", "lr": "{r}", "gnorm": "{n}"}}',
                   f'{_OLD} | INFO | valid | {{"epoch": 1, "valid_loss": "9.4"}}',
                   f'{_OLD} | INFO | train | {{"train_loss": "9.4", "train_num_updates": "600"}}'),
        tool="fairseq", told="not used: 'train_loss'",
    ),
    "fairseq in words": Log(
        text=_each("epoch 001: {s:6d} / 1000 loss={x}, ppl=9.1, num_updates={s}, lr={r}, "
                   "gnorm={n}, clip=0"),
        tool="fairseq",
    ),
    "llm.c": Log(
        text=_each("step {s:4d}/600 | loss {x} (+1.2z)| norm {n} (+0.3z)| lr {r:.2e} | 9.1 ms"),
        tool="console lines",
    ),
    "llama2.c": Log(
        text=_each("{s} | loss {x} | lr {r:e} | 9.5ms | mfu 10.0%"), tool="console lines",
        norms=False,
    ),
    "modded-nanogpt": Log(
        text=_each("step:{s}/600 train_loss:{x} train_time:9ms step_avg:9.1ms",
                   "step:600/600 val_loss:9.2 train_time:1ms"),
        tool="console lines", norms=False,
    ),
    "bare words": Log(
        text=_each("{s} train {x}", "600 val 9.5", "600 hella 0.25"), tool="console lines",
        norms=False,
    ),
    "Keras": Log(
        text=_each(f"Epoch {{i}}/60\n 50/100 {_BAR} 3s - loss: 9.0\r100/100 {_BAR} 3s 1ms/step - "
                   "accuracy: 0.9 - loss: {x} - val_loss: 9.3"),
        tool="Keras", steps="rows", norms=False,
    ),
    "steps in each epoch": Log(
        text="\n".join(
            f"Epoch [{1 + i // 20}/3], Step [{1 + i % 20}/20], Loss: {row[1]}"
            for i, row in enumerate(CURVE)
        ),
        tool="console lines", steps="rows", norms=False,
        told="Rows are counted as steps, since steps begin again in each epoch.",
    ),
    "losses of epochs": Log(
        text=_each("epoch {i}: train loss {x}, val loss 9.5"), tool="console lines", steps="epochs",
        norms=False, told="It counts epochs, not steps.",
    ),
    "printed tensors": Log(
        text=_each("step {s} loss tensor({x}, device='cuda:0') grad norm tensor({n})"),
        tool="console lines",
    ),
    "printed numpy": Log(
        text=_each("{{'step': {s}, 'loss': np.float64({x}), 'grad_norm': np.float32({n})}}"),
        tool="console lines",
    ),
    "evaluation by mode": Log(
        text=_objects(
            lambda s, x, n, r: {"mode": "train", "iter": s, "loss": x, "grad_norm": n},
            {"mode": "val", "iter": 600, "loss": 9.0},
        ),
        tool="JSON lines", told="No steps: 1 row of evaluation.",
    ),
    "NeMo": Log(
        text=_objects(
            lambda s, x, n, r: {"reduced_train_loss": x, "global_step": s, "grad_norm": n}
        ),
        tool="NeMo",
    ),
    "fairseq with summaries": Log(
        text=_each(f"{_OLD} | INFO | train_inner | epoch 001: {{s}} / 900 loss={{x}}, "
                   "nll_loss=9.1, num_updates={s}, lr={r}, gnorm={n}, clip=0",
                   f"{_OLD} | INFO | valid | epoch 001 | valid on 'valid' subset | loss 9.4 | "
                   "nll_loss 9.2 | wps 9 | num_updates 600",
                   f"{_OLD} | INFO | train | epoch 001 | loss 9.4 | num_updates 600 | gnorm 9.5"),
        tool="fairseq", told="No steps: 1 row of evaluation.",
    ),
    "Composer": Log(
        text=_each("[batch={s}/900]:\n\t Train time/batch: {i}\n\t Train loss/train/total: {x}\n"
                   "\t Train metrics/train/LanguageCrossEntropy: 9.1\n"
                   "\t Train l2_norm/grad/global: {n}",
                   "[Eval batch=1/8] Eval on eval data:\n\t Eval metrics/eval/CrossEntropy: 9.2"),
        tool="Composer",
    ),
    "XTuner": Log(
        text=_each("Iter(train) [{s:5d}/900]  lr: {r}  eta: 0:12:34  time: 1.23  memory: 9123  "
                   "loss: {x}  grad_norm: {n}  tflops: 9",
                   "Iter(val) [10/100]  eta: 0:12:34  loss: 9.3"),
        tool="console lines", told="No steps: 1 row of evaluation.",
    ),
    "MaxText": Log(
        text=_each("completed step: {s}, seconds: 1.234, Tokens/s/device: 1234.5, loss: {x}, "
                   "total_weights: 65536"),
        tool="console lines", norms=False,
    ),
    "Levanter": Log(
        text=_objects(
            lambda s, x, n, r: {
                "_step": s, "train/loss": x, "grad/norm/total": n, "grad/norm/embeddings": 9.0,
                "optim/learning_rate": r,
            },
            {"_step": 600, "eval/loss": 9.0},
        ),
        tool="Weights & Biases", told="No steps: 1 row of evaluation.",
    ),
    "TRL, PPO": Log(
        text=_each("{{'eps': 37, 'objective/kl': 0.1, 'objective/scores': 9.0, "
                   "'policy/approxkl_avg': 0.1, 'loss/policy_avg': {x}, 'loss/value_avg': 9.1, "
                   "'val/ratio': 1.0, 'lr': {r}, 'episode': {s}, 'epoch': 0.1}}"),
        tool="console lines", steps="rows", norms=False,
    ),
    "W&B, PPO": Log(
        text="_step,ppo/loss/policy,ppo/loss/value,ppo/loss/total,ppo/learning_rate\n"
             + _each("{s},9.1,9.2,{x},{r}"),
        tool="Weights & Biases", norms=False, told="not used: 'ppo/loss/policy'", file="log.csv",
    ),
    "Comet": Log(
        text="metricName,metricValue,step,epoch,timestamp\n"
             + _each("loss,{x},{s},0,17\ngrad_norm,{n},{s},0,17\nval_loss,9.1,{s},0,17"),
        tool="CSV", told="No steps: 60 rows of evaluation.", file="log.csv",
    ),
    "TensorBoard download under another name": Log(
        text="Wall time,Step,Value\n" + _each("17.5,{s},{x}"), tool="CSV", norms=False,
        file="train_loss.csv",
    ),
}  # fmt: skip
"""One log for each way of writing."""
