"""Parameters that come, go, are frozen and unfrozen while a training is watched."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from backlight.errors import ModelError, RunDirectoryError
from backlight.training import read_history, watch
from zoo.watched import Block, Stack, global_norm, named, train


def sgd(model, rate=0.1):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], rate)


def columns(history, prefix):
    return [c for c, info in enumerate(history.parameters) if info.name.startswith(prefix)]


def infos(history, prefix):
    return [info for info in history.parameters if info.name.startswith(prefix)]


def symptoms(monitor):
    return {finding.symptom for finding in monitor.diagnose().findings}


def found_in(monitor, module):
    return [f for f in monitor.diagnose().findings if f.place.module.startswith(module)]


@pytest.fixture(params=["memory", "disk"])
def run_dir(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "run"


def test_what_was_unfrozen_is_seen_from_then_on_and_is_not_frozen(run_dir):
    model = Stack()
    model.blocks[1].requires_grad_(False)
    optimizer = sgd(model)
    with watch(model, optimizer, run_dir, schedule=1) as monitor:
        train(model, optimizer, 8)
        assert not any(info.trainable for info in infos(monitor.history(), "blocks.1."))
        assert "frozen" in symptoms(monitor)
        block = list(model.blocks[1].requires_grad_(True).parameters())
        optimizer.add_param_group({"params": block, "lr": 0.05})
        seen = train(model, optimizer, 16, start=8)
    history = monitor.history() if run_dir is None else read_history(run_dir)
    inside = columns(history, "blocks.1.")
    assert not history.present[:8, inside].any()
    assert history.present[8:, inside].all()
    np.testing.assert_allclose(history.global_norm[8:], [global_norm(s["raw"]) for s in seen])
    assert (history.statistics["update_ratio"][8:, inside] > 0).any(axis=0).all()
    assert all(info.trainable for info in infos(history, "blocks.1."))
    assert "frozen" not in symptoms(monitor)
    np.testing.assert_array_equal(history.learning_rates[:8], [[0.1, np.nan]] * 8)
    np.testing.assert_array_equal(history.learning_rates[8:], [[0.1, 0.05]] * 8)


def test_what_was_frozen_is_frozen_since_then():
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 20)
        model.blocks[1].requires_grad_(False)
        assert all(info.trainable for info in infos(monitor.history(), "blocks.1."))
        train(model, optimizer, 40, start=20)
    assert not any(info.trainable for info in infos(monitor.history(), "blocks.1."))
    (finding,) = found_in(monitor, "blocks.1")
    assert (finding.symptom, finding.since_step) == ("frozen", 21)


def test_halves_that_are_frozen_in_turn_count_as_trained():
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        for step in range(24):
            for number, block in enumerate(model.blocks):
                block.requires_grad_(number % 2 == step % 2)
            train(model, optimizer, step + 1, start=step)
    history = monitor.history()
    assert all(info.trainable for info in infos(history, "blocks."))
    assert "frozen" not in symptoms(monitor)


def test_only_what_was_frozen_at_first_may_be_trained_later():
    model = Stack()
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 2)
        model.requires_grad_(True)
        model.head.requires_grad_(False)
        model.head.weight.grad = None
        seen = train(model, optimizer, 4, start=2)
    history = monitor.history()
    assert history.steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(history.global_norm[2:], [global_norm(s["raw"]) for s in seen])


@pytest.mark.parametrize("known", [True, False])
def test_a_block_that_is_added_gets_columns_of_its_own(run_dir, known):
    model = Stack()
    optimizer = sgd(model)
    number = len(named(model))
    with watch(model, optimizer, run_dir, schedule=1) as monitor:
        train(model, optimizer, 3)
        torch.manual_seed(1)
        model.blocks.append(Block(0.0).double())
        if known:
            optimizer.add_param_group({"params": list(model.blocks[3].parameters())})
        seen = train(model, optimizer, 9, start=3)
    history = monitor.history() if run_dir is None else read_history(run_dir)
    added = history.parameters[number:]
    since = 4 if known else 5  # without an optimizer it is found at the end of a measured step
    assert {info.since for info in added} == {since}
    assert [info.name for info in added] == [n for n, _ in named(model) if n.startswith("blocks.3")]
    assert {info.layer for info in added} == {3}
    inside = columns(history, "blocks.3.")
    assert not history.present[: since - 1, inside].any()
    assert history.present[since - 1 :, inside].all()
    first = since - 1
    expected = [global_norm(each["raw"]) for each in seen[first - 3 :]]
    np.testing.assert_allclose(history.global_norm[first:], expected)
    assert ("never_moves" in symptoms(monitor)) == (not known)


def test_a_block_that_is_removed_is_absent_and_no_fault(run_dir):
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, run_dir, schedule=1) as monitor:
        train(model, optimizer, 4)
        del model.blocks[1]
        seen = train(model, optimizer, 12, start=4)
    history = monitor.history() if run_dir is None else read_history(run_dir)
    inside = columns(history, "blocks.1.")
    assert history.present[:4, inside].all()
    assert not history.present[5:, inside].any()
    assert {info.until for info in infos(history, "blocks.1.")} == {6}
    assert not any(info.until for info in infos(history, "blocks.2."))
    expected = [global_norm(each["raw"]) for each in seen[1:]]
    np.testing.assert_allclose(history.global_norm[5:], expected)
    assert not found_in(monitor, "blocks.1")


def test_a_weight_that_is_replaced_keeps_its_column_if_it_has_its_shape():
    model = Stack()
    optimizer = sgd(model)
    number = len(named(model))
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 2)
        model.head.weight = nn.Parameter(model.head.weight.detach() * 0.5)
        optimizer.add_param_group({"params": [model.head.weight]})
        seen = train(model, optimizer, 4, start=2)
        model.head.weight = nn.Parameter(torch.zeros(13, 6).double())
        optimizer.add_param_group({"params": [model.head.weight]})
        train(model, optimizer, 6, start=4)
    history = monitor.history()
    assert len(history.parameters) == number + 1
    assert history.parameters[-1].name == "head.weight (2)"
    assert history.parameters[-1].shape == (13, 6)
    (column, _) = columns(history, "head.weight")
    expected = [s["raw"]["head.weight"].norm() for s in seen]
    np.testing.assert_allclose(history.statistics["norm"][2:4, column], expected)
    assert not history.present[4:, column].any()


def test_a_resumed_log_goes_on_in_its_own_columns(tmp_path):
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        train(model, optimizer, 2)
        model.blocks.append(Block(0.0).double())
        del model.blocks[1]
        optimizer.add_param_group({"params": list(model.blocks[2].parameters())})
        train(model, optimizer, 4, start=2)
    other = copy.deepcopy(model)
    with pytest.raises(RunDirectoryError, match="another model: they differ in"):
        watch(other, sgd(other), tmp_path / "run", steps_done=4)  # its blocks have other names


def test_a_resumed_log_knows_what_was_added(tmp_path):
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        train(model, optimizer, 2)
        model.blocks.append(Block(0.0).double())
        optimizer.add_param_group({"params": list(model.blocks[3].parameters())})
        train(model, optimizer, 4, start=2)
    other = copy.deepcopy(model)
    optimizer = sgd(other)
    with watch(other, optimizer, tmp_path / "run", schedule=1, steps_done=4):
        seen = train(other, optimizer, 6, start=4)
    history = read_history(tmp_path / "run")
    assert history.steps.tolist() == [1, 2, 3, 4, 5, 6]
    for column, info in enumerate(history.parameters):
        gradients = [each["raw"][info.name] for each in seen]
        if gradients[0] is not None:
            norms = history.statistics["norm"][4:, column]
            np.testing.assert_allclose(norms, [g.norm() for g in gradients], err_msg=info.name)
    assert not history.present[:2, columns(history, "blocks.3.")].any()


def test_parameters_that_are_all_replaced_are_seen_at_once():
    model = Stack()
    optimizer = sgd(model)
    with watch(model, optimizer, schedule=1) as monitor:
        train(model, optimizer, 2)
        for name in ("embed", "blocks", "head"):
            setattr(model, name, copy.deepcopy(getattr(model, name)))
        optimizer.param_groups[0]["params"] = list(model.parameters())
        seen = train(model, optimizer, 4, start=2)
    history = monitor.history()
    np.testing.assert_allclose(history.global_norm[2:], [global_norm(s["raw"]) for s in seen])
    assert len(history.parameters) == len(named(model))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Linear(2, 2, device="meta"), "weight is on the meta device"),
        (lambda: nn.LazyLinear(2), "weight has no shape yet: its module is lazy"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_parameters_without_numbers_are_refused(model, message):
    model = model()
    with pytest.raises(ModelError, match=message):
        watch(model, torch.optim.SGD(model.parameters(), 0.1))
