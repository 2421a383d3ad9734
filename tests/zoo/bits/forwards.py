"""Models that remember, draw or change something when they are called, and odd batches."""

import queue
import random
from collections import UserDict, defaultdict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from zoo.bits.harness import net, scenario, simple

Pair = namedtuple("Pair", "x extra")
_MEMORY = []
_NUMPY = np.random.default_rng(5)
_TORCH = torch.Generator().manual_seed(6)


class Changed(nn.Module):
    """A network whose input is changed by a function of the module and the input."""

    def __init__(self, change, **attributes):
        super().__init__()
        self.net = net()
        self.change = change
        vars(self).update(attributes)

    def forward(self, x):
        return self.net(self.change(self, x))


@scenario
def draws_from_python(t):
    simple(t, Changed(lambda m, x: x * random.uniform(0.5, 1.5)))


@scenario
def draws_from_numpy(t):
    simple(t, Changed(lambda m, x: x * float(np.random.rand())))


@scenario
def draws_from_torch(t):
    simple(t, Changed(lambda m, x: x * torch.rand(())))


@scenario
def draws_from_a_generator_of_its_own(t):
    own = torch.Generator().manual_seed(4)
    simple(t, Changed(lambda m, x: x * torch.rand((), generator=m.own), own=own))
    t.keep(own.get_state())


@scenario
def draws_from_a_generator_in_a_closure(t):
    own = torch.Generator().manual_seed(4)
    simple(t, Changed(lambda m, x: x * torch.rand((), generator=own)))
    t.keep(own.get_state())


@scenario
def draws_from_a_generator_of_the_program(t):
    _TORCH.manual_seed(6)
    simple(t, Changed(lambda m, x: x * torch.rand((), generator=_TORCH)))
    t.keep(_TORCH.get_state())


@scenario
def draws_from_a_numpy_generator_of_the_program(t):
    _NUMPY.bit_generator.state = np.random.default_rng(5).bit_generator.state
    simple(t, Changed(lambda m, x: x * _NUMPY.random()))
    t.keep(_NUMPY.random())


@scenario
def draws_from_an_instance_of_python_random(t):
    own = random.Random(8)
    simple(t, Changed(lambda m, x: x * own.random()))
    t.keep(own.random())


@scenario
def seeds_anew_in_the_forward_pass(t):
    def change(m, x):
        m.calls += 1
        torch.manual_seed(m.calls)
        return x + torch.randn(())

    simple(t, Changed(change, calls=0))


@scenario
def counts_on_itself(t):
    def change(m, x):
        m.calls += 1
        return x / m.calls

    model = Changed(change, calls=0)
    simple(t, model)
    t.keep(model.calls)


@scenario
def counts_on_its_class(t):
    def change(m, x):
        Changed.calls += 1
        return x / Changed.calls

    Changed.calls = 0
    simple(t, Changed(change))
    t.keep(Changed.calls)


@scenario
def counts_in_the_program(t):
    _MEMORY.clear()

    def change(m, x):
        _MEMORY.append(float(x.sum()))
        return x + len(_MEMORY)

    simple(t, Changed(change))
    t.keep(_MEMORY)


@scenario
def counts_in_a_buffer(t):
    model = Changed(lambda m, x: x / m.count.add_(1))
    model.register_buffer("count", torch.zeros(()))
    simple(t, model)


@scenario
def replaces_a_buffer(t):
    def change(m, x):
        m.last = 0.9 * m.last + 0.1 * x.detach().mean()
        return x - m.last

    model = Changed(change)
    model.register_buffer("last", torch.zeros(()))
    simple(t, model)


@scenario
def carries_a_state_over_batches(t):
    def change(m, x):
        m.state = (x + m.state).detach().tanh()
        return x + m.state

    model = Changed(change, state=0.0)
    simple(t, model)
    t.keep(model.state)


@scenario
def writes_a_file_in_the_forward_pass(t):
    path = t.folder / "calls.txt"

    def change(m, x):
        with path.open("a") as file:
            file.write("call\n")
        return x

    with path.open("w") as kept:
        model = Changed(lambda m, x: x + kept.write("call\n"))
        simple(t, model)
        kept.flush()
    t.keep(path.read_text())


@scenario
def takes_from_a_queue(t):
    waiting = queue.Queue()
    for number in range(40):
        waiting.put(number)
    simple(t, Changed(lambda m, x: x * waiting.get_nowait()))
    t.keep(waiting.qsize())


@scenario
def changes_its_weights_in_the_forward_pass(t):
    def change(m, x):
        with torch.no_grad():
            m.net[0].weight.mul_(0.99)
        return x

    simple(t, Changed(change))


@scenario
def switches_its_own_mode(t):
    simple(t, Changed(lambda m, x: m.train(not m.training) and x))


@scenario
def drops_out(t):
    simple(t, net(nn.Dropout(0.5)))


@scenario
def normalises_batches(t):
    simple(t, net(nn.BatchNorm1d(5)))


@scenario
def rectifies_at_random(t):
    simple(t, net(nn.RReLU()))


@scenario
def normalises_by_its_spectrum(t):
    model = net()
    torch.nn.utils.parametrizations.spectral_norm(model[0])
    simple(t, model)


@scenario
def normalises_its_weights(t):
    model = net()
    torch.nn.utils.parametrizations.weight_norm(model[0])
    simple(t, model)


@scenario
def has_a_forward_hook_of_the_user(t):
    seen = []
    model = net()
    model[1].register_forward_hook(lambda m, i, o: seen.append(float(o.sum())))
    simple(t, model)
    t.keep(seen)


@scenario
def has_a_hook_that_changes_its_input(t):
    calls = []
    model = net()
    model.register_forward_pre_hook(lambda m, i: (calls.append(1), (i[0] * len(calls),))[1])
    simple(t, model)
    t.keep(calls)


@scenario
def has_backward_hooks_of_the_user(t):
    seen = []
    model = net()
    model[0].register_full_backward_hook(lambda m, i, o: seen.append(o[0].sum().item()))
    model[2].weight.register_hook(lambda g: g * 0.5)
    model[2].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.sum().item()))
    simple(t, model)
    t.keep(seen)


@scenario
def has_a_forward_of_another_object(t):
    model, other = net(), nn.Linear(4, 4)
    plain = model.forward
    calls = []

    def forward(x):
        calls.append(1)
        return plain(other(x))

    model.forward = forward
    simple(t, model)
    t.keep(calls)


@scenario
def fails_when_called_once_more(t):
    seen = set()

    def change(m, x):
        if float(x.sum()) in seen:
            raise RuntimeError("this batch was here already")
        seen.add(float(x.sum()))
        return x

    simple(t, Changed(change))


@scenario
def ends_the_process_when_called_once_more(t):
    seen = set()

    def change(m, x):
        if float(x.sum()) in seen:
            raise SystemExit("this batch was here already")
        seen.add(float(x.sum()))
        return x

    simple(t, Changed(change))


# Batches


def given(pack, forward):
    """A training in which the input is packed for the model, which unpacks it."""

    class Unpacks(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, batch):
            return forward(self.net, batch)

    def train(t):
        kept = []

        def call(model, x, step):
            batch = pack(x * (float("inf") if step == 5 else 1))
            kept.append(batch)
            return model(batch)

        simple(t, Unpacks(), call=call)
        t.keep([left(batch) for batch in kept])

    return train


def left(batch):
    """Return what is left of a batch."""
    if isinstance(batch, dict) and "rows" in batch:
        return list(batch["rows"])
    if hasattr(batch, "__next__"):
        return list(batch)
    return vars(batch) if hasattr(batch, "__dict__") else batch


def pops(net, batch):
    return net(batch["x"]) - batch.pop("labels").sum()


BATCHES = {
    "pops_its_labels": (lambda x: {"x": x, "labels": torch.ones(2)}, pops),
    "pops_from_a_dictionary_of_the_user": (
        lambda x: UserDict(x=x, labels=torch.ones(2)),
        pops,
    ),
    "pops_from_a_dictionary_with_defaults": (
        lambda x: defaultdict(list, x=x, labels=torch.ones(2)),
        pops,
    ),
    "pops_from_a_list_in_a_dictionary": (
        lambda x: {"all": [x, torch.ones(2)]},
        lambda net, batch: net(batch["all"].pop(0)),
    ),
    "pops_from_a_dictionary_in_a_tuple": (
        lambda x: Pair(x, {"labels": torch.ones(2)}),
        lambda net, batch: net(batch.x) - batch.extra.pop("labels").sum(),
    ),
    "pops_from_an_object": (
        lambda x: SimpleNamespace(x=x, labels=torch.ones(2)),
        lambda net, batch: net(batch.__dict__.pop("x")),
    ),
    "clears_its_batch": (
        lambda x: {"x": x},
        lambda net, batch: (net(batch["x"]), batch.clear())[0],
    ),
    "adds_to_its_batch": (
        lambda x: {"x": x},
        lambda net, batch: batch.setdefault("output", net(batch["x"])),
    ),
    "writes_into_its_batch": (lambda x: x, lambda net, batch: net(batch.mul_(0.5))),
    "writes_into_its_batch_afterwards": (
        lambda x: x,
        lambda net, batch: (net(batch.clone()), batch.zero_())[0],
    ),
    "takes_an_iterator": (lambda x: iter([x, x + 1]), lambda net, batch: net(next(batch))),
    "takes_a_generator": (
        lambda x: (x + number for number in range(9)),
        lambda net, batch: net(next(batch)),
    ),
    "takes_an_iterator_in_a_dictionary": (
        lambda x: {"rows": iter([x, x + 1])},
        lambda net, batch: net(next(batch["rows"])),
    ),
    "takes_numpy": (
        lambda x: x.numpy(),
        lambda net, batch: net(torch.from_numpy(batch)),
    ),
    "takes_a_function": (lambda x: lambda: x, lambda net, batch: net(batch())),
    "takes_what_cannot_be_shown": (
        lambda x: type("Shy", (), {"x": x, "__repr__": lambda self: 1 / 0})(),
        lambda net, batch: net(batch.x),
    ),
}

for _name, _parts in BATCHES.items():
    _training = given(*_parts)
    _training.__name__ = _name
    scenario(_training)


@dataclass
class Record:
    x: torch.Tensor
    used: bool = False


@scenario
def marks_its_batch_as_used(t):
    def change(net, batch):
        assert not batch.used
        batch.used = True
        return net(batch.x)

    given(lambda x: Record(x), change)(t)


@scenario
def takes_one_iterator_for_all_steps(t):
    rows = iter(torch.randn(40, 3, 4))
    simple(t, Changed(lambda m, x: next(rows)))
    t.keep(len(list(rows)))


@scenario
def is_called_with_names(t):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, *, x, options):
            options.pop("unused", None)
            return self.net(x)

    simple(t, Named(), call=lambda m, x, step: m(x=x, options={"unused": 1}))


# Outputs


class Shy:
    """An output that cannot say whether it has a loss."""

    def __init__(self, value):
        self.value = value

    @property
    def loss(self):
        raise RuntimeError("not today")


@scenario
def returns_what_fails_when_it_is_looked_at(t):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return Shy(self.net(x))

    simple(t, Odd(), call=lambda m, x, step: m(x).value)


@scenario
def returns_a_generator(t):
    class Yields(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return (self.net(x) for _ in range(2))

    simple(t, Yields(), call=lambda m, x, step: next(m(x)))


@scenario
def returns_nothing(t):
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            self.result = self.net(x)

    simple(t, Keeps(), call=lambda m, x, step: (m(x), m.result)[1])
