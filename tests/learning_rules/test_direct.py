"""Direct feedback against the formula ``B e`` written out for small matrices."""

import sys
from collections import OrderedDict
from importlib.util import find_spec, module_from_spec

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from backlight.errors import ConfigError
from backlight.learning_rules import DirectFeedback, apply_rule
from zoo.local import differing, gradients, small_network
from zoo.models import tiny_model


def chain():
    """Four linear maps of widths 2, 3, 3, 2, 4, without biases."""
    sizes = OrderedDict(embed=(2, 3), first=(3, 3), second=(3, 2), head=(2, 4))
    torch.manual_seed(1)
    layers = {name: nn.Linear(*size, bias=False).double() for name, size in sizes.items()}
    return nn.Sequential(OrderedDict(layers))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("error", ["before_head", "after_head"])
def test_every_point_gets_its_matrix_times_the_error(error, shared):
    network, x = chain(), torch.randn(5, 2, dtype=torch.float64)
    at_output = torch.randn(5, 4, dtype=torch.float64)
    where = {"points": ["first", "second"], "head": "head"}

    with apply_rule(network, "dfa", direct=DirectFeedback(error=error, shared=shared, **where)):
        (network(x) * at_output).sum().backward()
        matrix = network.head.direct_feedback

    embed, first, second, head = (layer.weight.detach() for layer in network)
    e = at_output if error == "after_head" else at_output @ head
    assert matrix.shape == (3 if shared else 5, e.shape[1])
    rows = (matrix[:3], matrix[:2] if shared else matrix[3:])
    at_first, at_second = (e @ part.T / len(part) ** 0.5 for part in rows)
    h0 = x @ embed.T
    h1 = h0 @ first.T
    assert_close(network.head.weight.grad, at_output.T @ (h1 @ second.T))
    assert_close(network.second.weight.grad, at_second.T @ h1)
    assert_close(network.first.weight.grad, at_first.T @ h0)
    assert_close(network.embed.weight.grad, (at_first @ first).T @ x)


def test_a_small_example_by_hand():
    network = nn.Sequential(OrderedDict(block=nn.Linear(1, 2), head=nn.Linear(2, 1))).double()
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[3.0, -1.0]]))
    with apply_rule(
        network, "dfa", direct=DirectFeedback(points=["block"], head="head"), scale="kaiming"
    ):
        network(torch.zeros(1, 1).double())
        network.head.direct_feedback.copy_(torch.tensor([[0.5, 0.0], [1.0, 2.0]]))
        (2 * network(torch.tensor([[4.0]]).double())).sum().backward()
    # e = (6, -2); B e = (3, 2); Kaiming's bound for two inputs is the root of 3; x = 4.
    assert network.block.bias.grad.tolist() == pytest.approx([3 * 3**0.5, 2 * 3**0.5])
    assert network.block.weight.grad.flatten().tolist() == pytest.approx([12 * 3**0.5, 8 * 3**0.5])


@pytest.mark.parametrize(
    ("scale", "bound"),
    [("width", 6**-0.5), ("xavier", (6 / 11) ** 0.5), ("kaiming", (6 / 5) ** 0.5)],
)
def test_scales_are_bounds_of_even_numbers(scale, bound):
    network = small_network()
    seen = []
    where = DirectFeedback(points=["second"], head="head", error="after_head")
    with apply_rule(network, "dfa", scale=scale, direct=where):
        network.second.down.bias.register_hook(lambda grad: seen.append(grad.clone()))
        output = network(torch.randn(5, 4).double())
        for row in torch.eye(5).double():
            output.backward(row.repeat(5, 1) / 5, retain_graph=True)
        drawn = network.head.direct_feedback
    assert -1 <= drawn.min() < -0.5 < 0.5 < drawn.max() < 1
    assert_close(torch.stack(seen, dim=1), drawn * bound)


def test_points_inside_a_block_cut_it():
    network = small_network()
    where = ["first.norm", "first.gelu", "first", "second"]
    with apply_rule(network, "dfa", direct=DirectFeedback(points=where, head="head", shared=False)):
        found = gradients(network)
        assert network.head.direct_feedback.shape == (6 + 9 + 6 + 6, 6)
    exact = gradients(network)
    same = found.keys() - differing(found, exact)
    assert same == {"head.weight", "head.bias", "norm.weight", "norm.bias"}


def test_blocks_that_return_tuples_and_take_keywords_get_the_error():
    class Pair(nn.Linear):
        def forward(self, x, *, scale):
            return super().forward(x) * scale, "cache"

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = Pair(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            hidden, kept = self.block(x, scale=2.0)
            assert kept == "cache"
            return self.head(hidden)

    network = Two()
    exact = gradients(network, torch.ones(3, 2))
    with apply_rule(network, "dfa", direct=DirectFeedback(points=["block"], head="head")):
        found = gradients(network, torch.ones(3, 2))
    assert differing(found, exact, tolerance=1e-6) == {"block.weight", "block.bias"}


def test_blocks_of_a_transformers_model_get_the_error():
    model, tokens = tiny_model("llama", torch.float64), torch.randint(1, 99, (2, 7))
    points = [f"model.layers.{index}" for index in range(3)]
    with apply_rule(model, "dfa", direct=DirectFeedback(points=points, error="after_head")):
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        assert model.lm_head.direct_feedback.shape == (32, 99)
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_matrices_come_with_the_first_forward_and_stay():
    network = small_network()
    with apply_rule(network, "dfa", direct=DirectFeedback(points=["first"], head="head")):
        assert network.head.direct_feedback is None
        assert "head.direct_feedback" not in network.state_dict()
        with torch.no_grad():
            network(torch.randn(2, 4).double())
        drawn = network.head.direct_feedback.clone()
        gradients(network)
        assert torch.equal(network.head.direct_feedback, drawn)
        assert drawn.dtype == torch.float64
        assert network.to(torch.float32).head.direct_feedback.dtype == torch.float32


def test_forward_passes_may_be_added_up_or_taken_one_after_the_other():
    network, inputs = small_network(), torch.randn(2, 3, 4).double()
    with apply_rule(network, "dfa", direct=DirectFeedback(points=["first", "second"], head="head")):
        apart = [gradients(network, x) for x in inputs]
        network.zero_grad()
        sum(network(x).float().square().mean() for x in inputs).backward()
    for name, parameter in network.named_parameters():
        assert_close(parameter.grad, apart[0][name] + apart[1][name])


@pytest.mark.parametrize("ran", [True, False])
def test_matrices_are_saved_and_loaded(ran):
    where = DirectFeedback(points=["first", "second"], head="head", shared=False)
    saved, other = small_network(), small_network()
    apply_rule(saved, "dfa", direct=where)
    apply_rule(other, "dfa", direct=where)
    expected = gradients(saved)
    if ran:
        assert differing(gradients(other), expected)
    other.load_state_dict(saved.state_dict())
    assert not differing(gradients(other), expected, tolerance=0)
    assert other.head.direct_feedback is not saved.head.direct_feedback


def test_matrices_that_do_not_fit_are_refused():
    one, two = small_network(), small_network()
    apply_rule(one, "dfa", direct=DirectFeedback(points=["first"], head="head", shared=False))
    apply_rule(
        two, "dfa", direct=DirectFeedback(points=["first", "second"], head="head", shared=False)
    )
    plain = small_network().state_dict()
    two.load_state_dict(plain)  # nothing is there yet, so nothing is missing
    gradients(one), gradients(two)
    with pytest.raises(ConfigError, match=r"for 'head' is of shape \(6, 6\); the rule .*\(12, 6\)"):
        two.load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*head.direct_feedback"):
        two.load_state_dict(plain)

    fresh = small_network()
    apply_rule(
        fresh, "dfa", direct=DirectFeedback(points=["first", "second"], head="head", shared=False)
    )
    fresh.load_state_dict(one.state_dict())
    with pytest.raises(ConfigError, match=r"on 'head' is of shape \(6, 6\); these feedback points"):
        gradients(fresh)


def test_points_and_heads_that_do_not_exist_are_refused():
    network = small_network()
    with pytest.raises(ConfigError, match="needs feedback_points: the paths of the modules whose"):
        apply_rule(network, "dfa", direct=DirectFeedback(head="head"))
    with pytest.raises(ConfigError, match=r"no module 'fisrt'. Did you mean first"):
        apply_rule(network, "dfa", direct=DirectFeedback(points=["fisrt"], head="head"))
    with pytest.raises(ConfigError, match=r"no module 'lm_head'. Did you mean head"):
        apply_rule(network, "dfa", direct=DirectFeedback(points=["first"]))
    with pytest.raises(ConfigError, match=r"no module 'xyz'. model.named_modules\(\) lists them"):
        apply_rule(network, "dfa", direct=DirectFeedback(points=["first"], head="xyz"))
    with pytest.raises(ConfigError, match="must all be different modules"):
        apply_rule(network, "dfa", direct=DirectFeedback(points=["first", "first"], head="head"))
    with pytest.raises(ConfigError, match="no scale of direct feedback 'forward', only width, xav"):
        apply_rule(
            network, "dfa", direct=DirectFeedback(points=["first"], head="head"), scale="forward"
        )
    with pytest.raises(
        ConfigError, match=r"no place of the error 'head.in', only before_head, aft"
    ):
        apply_rule(
            network, "dfa", direct=DirectFeedback(points=["first"], head="head", error="head.in")
        )
    assert type(network.first) is nn.Sequential


def test_a_point_that_no_error_can_reach_is_refused():
    network = small_network()
    with (
        apply_rule(network, "dfa", direct=DirectFeedback(points=["norm"], head="second")),
        pytest.raises(ConfigError, match="point 'norm' did not run before 'second': no error can"),
    ):
        gradients(network)
    with apply_rule(network, "dfa", direct=DirectFeedback(points=["first"], head="head")):
        gradients(network)  # its error must not serve a loss that does not come from the head
        seen = []
        handle = network.second.register_forward_hook(lambda *call: seen.append(call[2]))
        network(torch.randn(2, 4).double())
        handle.remove()
        with pytest.raises(ConfigError, match="No error came through 'head' before 'first' needed"):
            seen[0].sum().backward()


def test_an_error_of_other_tokens_than_the_point_has_is_refused():
    class Pooled(nn.Sequential):
        def forward(self, x):
            return self.head(self.block(x).mean(dim=1))

    network = Pooled(OrderedDict(block=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    with (
        apply_rule(network, "dfa", direct=DirectFeedback(points=["block"], head="head")),
        pytest.raises(ConfigError, match=r"shape \(3, 2\) does not fit the feedback point 'block'"),
    ):
        gradients(network, torch.randn(3, 4, 2))


def test_a_torch_that_takes_no_reason_for_not_compiling_will_do(monkeypatch):
    spec = find_spec("backlight.learning_rules.direct")
    anew = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, anew)
    monkeypatch.setattr(torch.compiler, "disable", lambda fn=None, recursive=True: fn)  # of 2.4

    spec.loader.exec_module(anew)

    assert anew.DirectFeedback().head == "lm_head"
