"""Parameters that do not learn, in models without blocks."""

import pytest
import torch
from torch import nn

from backlight import watch
from backlight.training.doctor.diagnosis import diagnose


def plain():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16)),
        *(nn.Linear(16, 16), nn.ReLU(), nn.LayerNorm(16)),
        *(nn.Linear(16, 16), nn.ReLU()),
        nn.Linear(16, 1),
    )


def nested():
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(4)]
    return nn.Sequential(*parts, nn.Linear(8, 1))


class Named(nn.Module):
    """Layers that are called by numbered names, in another order than they were made."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc3 = nn.Linear(8, 1)
        self.fc1 = nn.Linear(8, 8)
        self.fc2 = nn.Linear(8, 8)

    def forward(self, x):
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))


def found_with(model, *frozen):
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, schedule=1, status=False) as monitor:
        for _ in range(12):
            optimizer.zero_grad()
            x = torch.randn(16, 8)
            loss = (model(x)[:, 0] - x.sum(dim=1)).square().mean()
            loss.backward()
            monitor.loss(loss)
            optimizer.step()
    diagnosis = diagnose(monitor.history())
    return {each.place.module: each for each in diagnosis.findings if each.symptom == "frozen"}


@pytest.mark.parametrize(
    ("made", "frozen"),
    [
        (plain, ["3"]),
        (plain, ["6"]),
        (plain, ["8"]),
        (plain, ["3", "8"]),
        (plain, ["5"]),
        (nested, ["2.0"]),
        (nested, ["1.0", "3.0"]),
        (Named, ["fc2"]),
        (Named, ["fc3"]),
    ],
)
def test_a_layer_that_is_frozen_behind_a_trained_one_is_a_warning(made, frozen):
    found = found_with(made(), *frozen)

    assert list(found) == frozen
    for each in found.values():
        assert each.severity == "warning"
        assert each.evidence == (
            "2 parameters have requires_grad=False; the same ones of earlier layers are trained."
        )


@pytest.mark.parametrize(
    ("made", "frozen"),
    [
        (plain, []),
        (plain, ["0"]),
        (plain, ["0", "2", "3"]),  # all but the last
        (plain, ["2", "5"]),  # all norms
        (nested, ["0.0", "1.0"]),
        (Named, ["fc1", "fc2"]),
    ],
)
def test_first_layers_and_all_of_a_kind_may_be_frozen(made, frozen):
    assert found_with(made(), *frozen) == {}
