"""The watch against plain loops: what it records is what was there, and the loop stays the same."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from backlight.errors import ConfigError, ModelError, RunDirectoryError, UsageError
from backlight.training import History, Watch, log_spaced, read_history, watch
from backlight.training.measuring import measurement
from backlight.training.measuring.statistics import gradient_statistics
from zoo.watched import Stack, batches, global_norm, train


def sgd(model, rate=0.1, **options):
    return torch.optim.SGD(model.parameters(), rate, **options)


def same(left, right, **tolerance):
    np.testing.assert_allclose(left, right, equal_nan=True, **{"rtol": 1e-12, **tolerance})


def check(history, seen, names, *, steps):
    """Compare a history with what a loop saw, computed parameter by parameter."""
    assert history.steps.tolist() == steps
    assert [info.name for info in history.parameters] == names
    for row, step in enumerate(steps):
        there = seen[step - 1]
        same(history.global_norm[row], global_norm(there["raw"]))
        same(history.clipped_norm[row], global_norm(there["clipped"]))
        for column, name in enumerate(names):
            gradient = there["raw"][name]
            assert history.present[row, column] == (gradient is not None)
            found = {key: table[row, column] for key, table in history.statistics.items()}
            if gradient is None:
                assert all(math.isnan(value) for value in found.values())
                continue
            weight = there["after"][name]
            expected = {
                "mean": gradient.mean(),
                "std": gradient.std(correction=0),
                "max_abs": gradient.abs().max(),
                "norm": gradient.norm(),
                "near_zero": (gradient.abs() < 1e-7).double().mean(),
                "zero": (gradient == 0).double().mean(),
                "num_nan": 0,
                "num_inf": 0,
                "weight_norm": weight.norm(),
                "update_ratio": (weight - there["before"][name]).norm() / weight.norm(),
            }
            for key, value in expected.items():
                same(found[key], float(value), rtol=1e-11, atol=1e-16, err_msg=f"{name} {key}")


def test_every_number_is_that_of_a_naive_computation(tmp_path):
    model = Stack()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with watch(model, optimizer, tmp_path / "run", schedule=2, status=False):
        seen = train(model, optimizer, 5, clip=0.5)
    names = [name for name, _ in model.named_parameters()]
    check(read_history(tmp_path / "run"), seen, names, steps=[1, 2, 4])


def test_memory_and_disk_say_the_same(tmp_path):
    model = Stack()
    optimizer = sgd(model)
    twin = copy.deepcopy(model)
    on_disk = watch(model, optimizer, tmp_path / "run", schedule=2)
    train(model, optimizer, 5)
    other = sgd(twin)
    in_memory = watch(twin, other, schedule=2)
    train(twin, other, 5)

    left, right = on_disk.history(), in_memory.history()

    assert isinstance(left, History)
    same(left.global_norm, right.global_norm)
    for name, table in left.statistics.items():
        same(table, right.statistics[name])
    assert left.losses.tolist() == right.losses.tolist()
    assert left.loss_steps.tolist() == [1, 2, 3, 4, 5]
    assert left.parameters == right.parameters
    on_disk.close()
    same(read_history(tmp_path / "run").losses, right.losses)
    in_memory.close()


def test_clipping_is_seen_as_clip_grad_norm_tells_it():
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        seen = train(model, optimizer, 4, clip=0.25)
    history = monitor.history()
    same(history.global_norm, [step["norm"].item() for step in seen])
    same(history.clipped_norm, 0.25, rtol=1e-5)
    assert history.clip_rate() == 1.0


def test_the_loop_is_not_changed_by_being_watched():
    def weights(watched):
        model = Stack(dropout=0.3)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        monitor = watch(model, optimizer, schedule=1, activations=True) if watched else None
        torch.manual_seed(3)
        train(model, optimizer, 4, clip=1.0)
        if monitor is not None:
            monitor.close()
        return list(model.parameters())

    assert all(map(torch.equal, weights(True), weights(False)))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accumulated_gradients_are_those_of_the_whole_batch(accumulate):
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        seen = train(model, optimizer, 3, accumulate=accumulate, clip=0.3)
    names = [name for name, _ in model.named_parameters()]
    history = monitor.history()
    check(history, seen, names, steps=[1, 2, 3])
    whole = Stack()
    with watch(whole, plain := sgd(whole), schedule=1) as other:
        train(whole, plain, 3, clip=0.3)
    same(history.global_norm, other.history().global_norm)
    same(history.losses, other.history().losses)


def test_a_tied_weight_is_listed_once_and_a_frozen_one_is_absent():
    model = Stack(tied=True)
    model.blocks[0].up.weight.requires_grad_(False)
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        seen = train(model, optimizer, 2)
    history = monitor.history()
    names = [name for name, _ in model.named_parameters()]
    assert "head.weight" not in names
    check(history, seen, names, steps=[1, 2])
    frozen = {info.name for info in history.parameters if not info.trainable}
    assert frozen == {"blocks.0.up.weight"}
    absent = {names[column] for column in np.flatnonzero(~history.present.any(axis=0))}
    assert absent == frozen | {"unused.weight", "unused.bias"}


def test_parameters_have_layers_and_the_depth_of_their_first_use():
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer) as monitor:
        train(model, optimizer, 1)
    infos = sorted(monitor.history().parameters, key=lambda info: info.depth)
    assert [info.depth for info in infos] == list(range(len(infos)))
    modules = list(dict.fromkeys(info.module for info in infos))
    inner = [f"blocks.{i}.{name}" for i in range(3) for name in ("norm", "up", "down")]
    assert modules == ["embed", *inner, "head", "unused"]
    layers = {info.name: info.layer for info in infos}
    assert (layers["embed.weight"], layers["blocks.2.up.bias"]) == (None, 2)
    assert monitor.history().layer_norms().names == ("blocks.0", "blocks.1", "blocks.2")
    assert {info.kind for info in infos} == {"Embedding", "Linear", "LayerNorm"}


def test_modules_that_are_never_called_stand_where_they_were_registered():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 1)
            self.attention = nn.MultiheadAttention(4, 1)

        def forward(self, x):
            return self.head(self.attention(x, x, x)[0]).sum()

    model = Wrapped()
    with watch(model, sgd(model)) as monitor:
        model(torch.randn(3, 1, 4)).backward()
    infos = sorted(monitor.history().parameters, key=lambda info: info.depth)
    assert [info.name for info in infos][-3:] == [
        "attention.out_proj.bias",
        "head.weight",
        "head.bias",
    ]


def test_gradients_may_be_freed_or_zeroed_in_any_way():
    def norms(set_to_none, where):
        model = Stack()
        optimizer = sgd(model)
        with watch(model, optimizer, schedule=1) as monitor:
            for tokens, targets in batches(3):
                if where == "before":
                    optimizer.zero_grad(set_to_none=set_to_none)
                model(tokens, targets)["loss"].backward()
                optimizer.step()
                if where == "after":
                    optimizer.zero_grad(set_to_none=set_to_none)
        return monitor.history().global_norm

    expected = norms(True, "before")
    for set_to_none, where in ((False, "before"), (True, "after"), (False, "after")):
        same(norms(set_to_none, where), expected)


def test_hooks_are_gone_afterwards_even_if_the_loop_fails():
    model = Stack()
    optimizer = sgd(model)

    def hooks():
        modules = list(model.modules())
        found = [m._forward_hooks | m._forward_pre_hooks for m in modules]
        found += [p._post_accumulate_grad_hooks or {} for p in model.parameters()]
        found += [optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks]
        return sum(map(len, found))

    def fail():
        with watch(model, optimizer, activations=True):
            assert hooks() > 10
            train(model, optimizer, 2)
            raise KeyError("the loop")

    with pytest.raises(KeyError, match="the loop"):
        fail()
    assert hooks() == 0


def test_a_pass_that_failed_in_the_middle_does_not_blind_the_watch():
    model = Stack()
    optimizer = sgd(model)

    def explode(gradient):
        raise RuntimeError("in the backward pass")

    with watch(model, optimizer, schedule=1) as monitor:
        tokens, targets = batches(1)[0]
        handle = model.embed.weight.register_hook(explode)
        with pytest.raises(RuntimeError, match="in the backward pass"):
            model(tokens, targets)["loss"].backward()
        handle.remove()
        optimizer.zero_grad()
        seen = train(model, optimizer, 1)
    same(monitor.history().global_norm, [global_norm(seen[0]["raw"])])


def test_evaluation_in_between_is_not_counted():
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 2)
        with torch.no_grad():
            model(*batches(9)[8])
        train(model, optimizer, 3, start=2)
    assert len(monitor.history().losses) == 3


@pytest.mark.parametrize("kind", ["scalar", "tuple", "attribute", "told", "function", "none"])
def test_the_loss_is_found_wherever_it_is(kind):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, x):
            loss = (self.weight * x).sum()
            by_kind = {
                "scalar": loss,
                "tuple": (x, loss, None),
                "attribute": type("Output", (), {"loss": loss, "other": 2 * loss})(),
                "function": {"a": loss, "b": 2 * loss},
            }
            return by_kind.get(kind, {"logits": self.weight * x, "a": loss, "b": 2 * loss})

    model = Odd()
    optimizer = sgd(model)
    loss_of = (lambda output: output["a"]) if kind == "function" else None
    with watch(model, optimizer, schedule=1, loss_of=loss_of) as monitor:
        for step in (1, 2):
            output = model(torch.full((3,), float(step), dtype=torch.float64))
            loss = (model.weight * step).sum()
            loss.backward()
            if kind == "told":
                monitor.loss(loss)
                monitor.loss(loss.item() + 1)
            optimizer.step()
            optimizer.zero_grad()
            del output
    losses = monitor.history().losses
    expected = [3.0, 2 * 3 * (1 - 0.1)]
    same(losses, {"none": [], "told": [x + 0.5 for x in expected]}.get(kind, expected))


def test_a_loss_is_one_number():
    model = Stack()
    with (
        watch(model, sgd(model)) as monitor,
        pytest.raises(UsageError, match=r"one number, not a tensor of shape \(2,\)"),
    ):
        monitor.loss(torch.zeros(2))


def test_learning_rates_of_all_groups_are_recorded():
    model = Stack()
    groups = [
        {"params": model.embed.parameters(), "lr": 0.5},
        {"params": model.blocks.parameters(), "lr": 0.25},
    ]
    optimizer = torch.optim.Adam(groups)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 1)
        scheduler.step()
        train(model, optimizer, 2, start=1)
    history = monitor.history()
    assert history.learning_rates.tolist() == [[0.5, 0.25], [0.25, 0.125]]
    head = [info.name for info in history.parameters].index("head.weight")
    assert history.statistics["update_ratio"][:, head].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}, {"capturable": False}])
def test_any_kind_of_optimizer_is_watched(options):
    model = Stack()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, **options)
    with watch(model, optimizer, schedule=1) as monitor:
        seen = train(model, optimizer, 3)
    check(monitor.history(), seen, [name for name, _ in model.named_parameters()], steps=[1, 2, 3])


@pytest.mark.parametrize("kind", ["SGD", "LBFGS"])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_closure_is_watched_at_its_first_call(kind, by_name):
    model = Stack()
    for parameter in model.unused.parameters():
        parameter.requires_grad_(False)
    optimizer = getattr(torch.optim, kind)(model.parameters(), 1e-2)
    tokens, targets = batches(1)[0]
    norms = []

    def closure():
        optimizer.zero_grad()
        loss = model(tokens, targets)["loss"]
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1).item())
        return loss

    with watch(model, optimizer, schedule=1) as monitor:
        optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        first = norms[0]
        optimizer.step(closure)
    history = monitor.history()
    assert history.steps.tolist() == [1, 2]
    same(history.global_norm[0], first)
    same(history.clipped_norm, 0.1, rtol=1e-4)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointed_blocks_are_watched(use_reentrant):
    class Saving(Stack):
        def forward(self, tokens, targets=None):
            x = self.embed(tokens)
            for block in self.blocks:
                x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=use_reentrant)
            return {"loss": nn.functional.cross_entropy(self.head(x), targets)}

    def history(model):
        optimizer = sgd(model)
        with watch(model, optimizer, schedule=1, activations=True) as monitor:
            train(model, optimizer, 2)
        return monitor.history()

    plain, saving = history(Stack()), history(Saving())
    for name, table in plain.statistics.items():
        same(saving.statistics[name], table, atol=1e-15)
    same(saving.activation_norms, plain.activation_norms)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["around", "inside"])
def test_a_compiled_model_is_watched(place):
    model, plain = Stack(), Stack()
    if place == "around":
        called = torch.compile(model, backend="aot_eager")
    else:
        called = model
        model.compile(backend="aot_eager")
    histories = []
    for watched in (called, plain):
        optimizer = sgd(watched)
        with watch(watched, optimizer, schedule=1) as monitor:
            train(watched, optimizer, 3)
        histories.append(monitor.history())
    same(histories[0].global_norm, histories[1].global_norm)
    same(histories[0].losses, histories[1].losses)
    assert [info.name for info in histories[0].parameters] == [
        n for n, _ in plain.named_parameters()
    ]
    with pytest.raises(ConfigError, match="activations of a compiled model cannot be watched"):
        watch(called, sgd(called), activations=True)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["around", "inside"])
def test_a_model_that_is_compiled_while_it_is_watched_stays_in_one_piece(place):
    model, plain = Stack(), Stack()
    for watched in (model, plain):
        optimizer = sgd(watched)
        with watch(watched, optimizer, schedule=1) as monitor:
            called = watched
            if watched is model and place == "around":
                called = torch.compile(watched, backend="aot_eager", fullgraph=True)
            elif watched is model:
                watched.compile(backend="aot_eager", fullgraph=True)
            train(called, optimizer, 3)
            norms = monitor.history().global_norm
        if watched is model:
            compiled_norms = norms
    same(compiled_norms, norms)
    assert all(map(torch.equal, model.parameters(), plain.parameters()))


def test_sparse_gradients_are_watched():
    class Sparse(Stack):
        def __init__(self, sparse):
            super().__init__()
            self.embed = nn.Embedding(11, 6, sparse=sparse, dtype=torch.float64)
            with torch.no_grad():
                self.embed.weight.copy_(torch.linspace(-1, 1, 66).reshape(11, 6))

    histories = []
    for sparse in (True, False):
        model = Sparse(sparse)
        optimizer = sgd(model)
        with (
            torch.sparse.check_sparse_tensor_invariants(enable=True),
            watch(model, optimizer, schedule=2) as monitor,
        ):
            train(model, optimizer, 3)
        histories.append(monitor.history())
    for name, table in histories[1].statistics.items():
        same(histories[0].statistics[name], table, atol=1e-16)


def test_the_gradient_at_the_blocks_is_that_of_autograd():
    model = Stack()
    optimizer = sgd(model)
    kept = {}

    def keep(name):
        def hook(module, inputs, output):
            output.register_hook(lambda gradient: kept.setdefault(name, []).append(gradient.norm()))

        return hook

    for number, block in enumerate(model.blocks):
        block.register_forward_hook(keep(f"blocks.{number}"))
    with watch(model, optimizer, schedule=2, activations=True) as monitor:
        train(model, optimizer, 2, accumulate=2)
    history = monitor.history()
    assert history.activation_layers == ("blocks.0", "blocks.1", "blocks.2")
    assert history.activation_steps.tolist() == [1, 2]
    for column, name in enumerate(history.activation_layers):
        norms = torch.stack(kept[name]).reshape(2, 2).square().sum(1).sqrt()
        same(history.activation_norms[:, column], norms.numpy())


def test_nothing_is_measured_outside_of_the_schedule(monkeypatch):
    model = Stack()
    optimizer = sgd(model)
    called = []
    monkeypatch.setattr(
        measurement,
        "gradient_statistics",
        lambda *words, **names: (
            called.append(monitor.steps + 1) or gradient_statistics(*words, **names)
        ),
    )
    monitor = watch(model, optimizer, schedule=log_spaced(2))
    train(model, optimizer, 12)
    monitor.close()
    assert called == [1, 3, 10]


def test_an_interrupted_run_is_gone_on_with(tmp_path):
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        train(model, optimizer, 3)
    with pytest.raises(RunDirectoryError, match="already holds the log"):
        watch(model, optimizer, tmp_path / "run")
    with watch(model, optimizer, tmp_path / "run", schedule=1, steps_done=2) as monitor:
        train(model, optimizer, 4, start=2)
    assert monitor.steps == 4
    assert read_history(tmp_path / "run").steps.tolist() == [1, 2, 3, 4]


def test_what_cannot_be_watched_is_said():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ModelError, match="No parameter of this Linear is trainable"):
        watch(frozen, sgd(frozen))
    imaginary = nn.Linear(2, 2, dtype=torch.complex64)
    with pytest.raises(ModelError, match="weight is complex"):
        watch(imaginary, sgd(imaginary))
    plain = nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"no list of blocks \(nn.ModuleList\)"):
        watch(plain, sgd(plain), activations=True)


def test_a_watch_says_what_is_wrong_with_the_training():
    model = Stack()
    optimizer = sgd(model)
    monitor = watch(model, optimizer, schedule=1)
    assert isinstance(monitor, Watch)
    train(model, optimizer, 3)
    assert monitor.diagnose() is not None
    monitor.close()
    monitor.close()


def test_an_unknown_option_is_refused_by_its_name():
    model = Stack()
    with pytest.raises(TypeError, match="unexpected keyword argument 'scheduel'"):
        watch(model, sgd(model), scheduel=1)


def test_sinks_get_the_norms_of_layers_also_where_parameters_have_no_gradient():
    class Kept:
        def write(self, step, numbers):
            self.numbers = {"step": step, **numbers}

        def close(self):
            pass

    model, kept = Stack(), Kept()
    model.embed.requires_grad_(False)
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1, sinks=[kept]) as monitor:
        train(model, optimizer, 1)
    layers = monitor.history().layer_norms()
    told = [kept.numbers[f"gradient/layers/{name}"] for name in layers.names]
    same(np.array(told), layers.norms[0])
