"""Several optimizers: a step is one of each, and what another one moves is not this one's."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from backlight.errors import ConfigError, ModelError
from backlight.training import read_history, watch
from backlight.training.guarding.guard import WatchWarning
from backlight.training.watching.given import checked_model, unwrapped
from zoo.watched import Stack, batches, global_norm, named


def halves(model):
    inner = list(model.blocks.parameters())
    outer = [*model.embed.parameters(), *model.head.parameters()]
    return torch.optim.SGD(inner, 0.1, momentum=0.9), torch.optim.AdamW(outer, 1e-2)


def together(model, optimizers, number=6, *, clip=None, zero="last"):
    """Step all optimizers after each backward pass; give the gradients, raw and clipped."""
    seen = []
    for tokens, targets in batches(number):
        model(tokens, targets)["loss"].backward()
        raw = {name: None if p.grad is None else p.grad.clone() for name, p in named(model)}
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        clipped = {name: None if p.grad is None else p.grad.clone() for name, p in named(model)}
        before = {name: p.detach().clone() for name, p in named(model)}
        for optimizer in optimizers:
            optimizer.step()
            if zero == "each":
                optimizer.zero_grad()
        after = {name: p.detach().clone() for name, p in named(model)}
        for optimizer in optimizers:
            optimizer.zero_grad()
        seen.append({"raw": raw, "clipped": clipped, "before": before, "after": after})
    return seen


def ratios(seen):
    return {
        name: float((there - seen["before"][name]).norm() / there.norm())
        for name, there in seen["after"].items()
    }


@pytest.mark.parametrize("zero", ["last", "each"])
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_two_optimizers_are_watched_as_one(kind, zero):
    model = Stack()
    optimizers = halves(model)
    with watch(model, kind(optimizers), schedule=1) as monitor:
        seen = together(model, optimizers, clip=0.3, zero=zero)
    history = monitor.history()
    assert history.steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert history.learning_rates.tolist() == [[0.1, 0.01]] * 6
    assert len(history.losses) == 6
    for row, there in enumerate(seen):
        np.testing.assert_allclose(history.global_norm[row], global_norm(there["raw"]))
        np.testing.assert_allclose(history.clipped_norm[row], global_norm(there["clipped"]))
        expected = ratios(there)
        for column, info in enumerate(history.parameters):
            if history.present[row, column]:
                found = history.statistics["update_ratio"][row, column]
                np.testing.assert_allclose(found, expected[info.name], err_msg=info.name)
    assert not any(info.elsewhere for info in history.parameters)


@pytest.mark.parametrize("zero", ["last", "each"])
@pytest.mark.parametrize("order", [1, -1])
def test_what_another_optimizer_moves_is_known_not_to_be_this_ones(tmp_path, order, zero):
    model = Stack()
    inner, outer = halves(model)
    with watch(model, outer, tmp_path / "run", schedule=1) as monitor:
        seen = together(model, (inner, outer)[::order], clip=0.3, zero=zero)
    history = read_history(tmp_path / "run")
    elsewhere = {info.name for info in history.parameters if info.elsewhere}
    assert elsewhere == {name for name, _ in named(model) if name.startswith("blocks.")}
    expected = [ratios(there) for there in seen]
    for column, info in enumerate(history.parameters):
        found = history.statistics["update_ratio"][1:, column]
        if info.name in elsewhere:
            assert np.isnan(found).all()
        elif history.present[:, column].all():
            np.testing.assert_allclose(found, [each[info.name] for each in expected[1:]])
    np.testing.assert_allclose(history.global_norm, [global_norm(each["raw"]) for each in seen])
    np.testing.assert_allclose(
        history.clipped_norm, [global_norm(each["clipped"]) for each in seen]
    )
    assert not {"never_moves", "rate_zero"} & {f.symptom for f in monitor.diagnose().findings}


def test_a_watch_for_each_optimizer_sees_its_own():
    model = Stack()
    inner, outer = halves(model)
    with (
        watch(model, inner, schedule=1) as first,
        watch(model, outer, schedule=1) as second,
    ):
        together(model, (inner, outer))
    for monitor, prefix in ((first, "blocks."), (second, ("embed.", "head."))):
        history = monitor.history()
        moving = (history.statistics["update_ratio"][1:] > 0).all(axis=0)
        names = {info.name for info, moves in zip(history.parameters, moving, strict=True) if moves}
        assert names == {name for name, _ in named(model) if name.startswith(prefix)}
        assert "never_moves" not in {f.symptom for f in monitor.diagnose().findings}


def test_a_parameter_that_no_optimizer_has_is_still_told():
    model = Stack()
    inner, _ = halves(model)
    with watch(model, inner, schedule=1) as monitor:
        together(model, (inner,), 8)
    assert not any(info.elsewhere for info in monitor.history().parameters)
    assert "never_moves" in {f.symptom for f in monitor.diagnose().findings}


def adversaries(every, number=8):
    """Train one network against another, which steps once in a while; give what was used."""
    torch.manual_seed(3)
    model = nn.ModuleDict({"maker": nn.Linear(2, 4), "judge": nn.Linear(4, 1)}).double()
    maker = torch.optim.SGD(model["maker"].parameters(), 0.1)
    judge = torch.optim.SGD(model["judge"].parameters(), 0.2)
    used, losses = [], []

    def norm(part):
        return math.hypot(*(p.grad.norm().item() for p in model[part].parameters()))

    monitor = watch(model, [judge, maker], schedule=1)
    for step in range(number):
        noise = torch.randn(3, 2).double()
        made = model["maker"](noise)
        loss = model["judge"](made.detach()).square().mean()
        monitor.loss(loss)
        judge.zero_grad()
        loss.backward()
        used.append({"judge": norm("judge")})
        losses.append([loss.item()])
        torch.nn.utils.clip_grad_norm_(model["judge"].parameters(), 1e-3)
        judge.step()
        if step % every == every - 1:
            loss = -model["judge"](made).mean()
            monitor.loss(loss)
            maker.zero_grad()
            loss.backward()
            used[-1]["maker"] = norm("maker")
            losses[-1].append(loss.item())
            maker.step()
    monitor.close()
    return monitor.history(), used, losses


@pytest.mark.parametrize("every", [1, 3])
def test_each_optimizers_gradients_are_those_that_it_used(every):
    history, used, losses = adversaries(every)
    assert history.steps.tolist() == list(range(1, 9))
    np.testing.assert_allclose(history.losses, [np.mean(each) for each in losses])
    columns = {
        part: [c for c, info in enumerate(history.parameters) if info.module == part]
        for part in ("maker", "judge")
    }
    norms, moved = history.statistics["norm"], history.statistics["update_ratio"]
    for row, there in enumerate(used):
        for part, expected in there.items():
            np.testing.assert_allclose(np.linalg.norm(norms[row, columns[part]]), expected)
        assert (moved[row, columns["judge"]] > 0).all()
        stepped = moved[row, columns["maker"]]
        assert (stepped > 0).all() if "maker" in there else np.isnan(stepped).all()
    clipped = history.clipped_norm[1::3] if every == 3 else []
    np.testing.assert_array_less(clipped, history.global_norm[1::3] if every == 3 else [])


def test_an_optimizer_inside_of_the_backward_pass_gets_a_sentence():
    model = Stack()
    each = {p: torch.optim.SGD([p], 0.1) for p in model.parameters()}

    def step(parameter):
        each[parameter].step()
        each[parameter].zero_grad()

    for parameter in each:
        parameter.register_post_accumulate_grad_hook(step)
    tokens, targets = batches(1)[0]
    watch(model, each.values())
    loss = model(tokens, targets)["loss"]
    with pytest.warns(WatchWarning, match="an optimizer stepped inside of the backward pass"):
        loss.backward()
    model(tokens, targets)["loss"].backward()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "There is no optimizer in the list; give at least one"),
        ("adam", "A str is no torch.optim.Optimizer; give the optimizer that takes the steps"),
        (None, "A NoneType is no torch.optim.Optimizer"),
        ([None], "A NoneType is no torch.optim.Optimizer"),
        ({}, "A dict is no torch.optim.Optimizer"),
    ],
)
def test_what_is_no_optimizer_is_refused(given, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        unwrapped(given)


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelError, match=r"A method is no torch.nn.Module"):
        checked_model(Stack().forward)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_scripted_model_is_refused():
    scripted = torch.jit.script(nn.Linear(2, 2))
    for model in (scripted, nn.Sequential(scripted)):
        with pytest.raises(ModelError, match="a scripted module, which runs outside of Python"):
            checked_model(model)


def test_an_optimizer_that_is_given_twice_counts_once():
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, [optimizer, optimizer], schedule=1) as monitor:
        together(model, [optimizer], 3)
    assert monitor.history().steps.tolist() == [1, 2, 3]
