"""Loops of every kind: optimizers, closures, scalers, failures on the way, models that change."""

import copy
import gc
import io
import threading
import warnings

import torch
from torch import nn

from zoo.bits.harness import clean, factor, net, scenario, sgd, simple, steps


def adam(model, **options):
    return torch.optim.AdamW(model.parameters(), **{"lr": 1e-2, **options})


@scenario
def plain_loop(t):
    simple(t, net(), options={"schedule": 1, "activations": False})


@scenario
def on_disk_with_a_snapshot(t):
    simple(t, net(), run_dir="run", options={"schedule": 1})


@scenario
def adam_of_all_kinds(t):
    for options in ({}, {"foreach": True}, {"fused": True}, {"amsgrad": True}):
        model = net()
        simple(t, model, adam(model, **options))


@scenario
def activations_of_blocks(t):
    model = nn.Sequential(nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))
    model.forward = lambda x: model[0][1](model[0][0](x).tanh())
    simple(t, model, options={"activations": True})


def closures(kind, **options):
    def train(t):
        model = net()
        optimizer = getattr(torch.optim, kind)(model.parameters(), 0.05, **options)
        calls = []
        with t.watch(model, optimizer):
            for step in range(5):
                x = torch.randn(3, 4)

                def closure(x=x, step=step):
                    calls.append(step)
                    optimizer.zero_grad()
                    loss = model(x).square().mean() * factor(step, (2,))
                    loss.backward()
                    clean(model)
                    return loss

                t.keep(optimizer.step(closure))
        t.keep(model, optimizer, calls)

    return train


@scenario
def closure_of_sgd(t):
    closures("SGD")(t)


@scenario
def closure_of_lbfgs(t):
    closures("LBFGS", max_iter=4)(t)


@scenario
def closure_of_lbfgs_with_line_search(t):
    closures("LBFGS", max_iter=4, line_search_fn="strong_wolfe")(t)


@scenario
def closure_that_fails(t):
    model = net()
    optimizer = sgd(model)
    with t.watch(model, optimizer):
        for step in range(6):

            def closure(step=step):
                optimizer.zero_grad()
                loss = model(torch.randn(3, 4)).square().mean()
                loss.backward()
                if step == 2:
                    raise KeyError("the user's own")
                return loss

            try:
                optimizer.step(closure)
            except KeyError as error:
                t.keep(error)
    t.keep(model, optimizer)


@scenario
def accumulates_gradients(t):
    def loop(model, optimizer):
        for step in range(12):
            (model(torch.randn(2, 4)).mean() * factor(step, (7,))).backward()
            if step % 3 == 2:
                clean(model)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.step()
                optimizer.zero_grad(set_to_none=step > 5)

    simple(t, net(), loop=loop)


@scenario
def leaves_bad_steps_out(t):
    def loop(model, optimizer):
        for step in range(8):
            optimizer.zero_grad()
            (model(torch.randn(2, 4)).mean() * factor(step, (2, 3, 6))).backward()
            if all(p.grad.isfinite().all() for p in model.parameters()):
                optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def spoils_its_weights(t):
    simple(t, net(), loop=lambda model, optimizer: spoil(model, optimizer))


def spoil(model, optimizer):
    for step in range(6):
        optimizer.zero_grad()
        (model(torch.randn(2, 4)).mean() * factor(step, (2,))).backward()
        optimizer.step()


def scaled(**options):
    def train(t):
        model = net()
        optimizer = adam(model, **options)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        with t.watch(model, optimizer, scaler=scaler):
            for step in range(8):
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = model(torch.randn(3, 4)).square().mean()
                (scaler.scale(loss) * (float("inf") if step in (2, 5) else 1)).backward()
                if step % 2:
                    scaler.unscale_(optimizer)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                scaler.step(optimizer)
                scaler.update()
        t.keep(model, optimizer, scaler.state_dict())

    return train


@scenario
def gradient_scaler(t):
    scaled()(t)


@scenario
def gradient_scaler_and_fused_optimizer(t):
    scaled(fused=True)(t)


@scenario
def copies_its_gradient_scaler(t):
    model = net()
    optimizer = sgd(model)
    first = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    with t.watch(model, optimizer, scaler=first), t.watch(model, optimizer, scaler=first):
        scaler = copy.deepcopy(first)
        for step in range(6):
            if step == 3:
                buffer = io.BytesIO()
                torch.save(scaler, buffer)
                buffer.seek(0)
                scaler = torch.load(buffer, weights_only=False)
            optimizer.zero_grad()
            scaler.scale(model(torch.randn(3, 4)).mean()).backward()
            scaler.step(optimizer)
            scaler.update()
    t.keep(model, optimizer, scaler.state_dict(), first.state_dict())


@scenario
def schedules_its_learning_rate(t):
    def loop(model, optimizer):
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
        for step in range(8):
            steps(model, optimizer, number=step + 1, first=step)
            scheduler.step()

    simple(t, net(), loop=loop)


@scenario
def evaluates_in_between(t):
    def loop(model, optimizer):
        for step in range(6):
            steps(model, optimizer, number=step + 1, first=step)
            model.eval()
            with torch.no_grad():
                t.keep(model(torch.randn(2, 4)))
            with torch.inference_mode():
                t.keep(model(torch.randn(2, 4)).clone())
            model.train()

    simple(t, net(nn.Dropout(0.3)), loop=loop)


@scenario
def evaluates_an_encoder_before_and_after(t):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 1))

    def evaluate():
        model.eval()
        with torch.no_grad():
            t.keep(model(torch.linspace(-1, 1, 24).reshape(2, 3, 4)))
        model.train()

    def loop(model, optimizer):
        for step in range(4):
            evaluate()
            call = lambda m, x, step: m(x[None])  # noqa: E731
            steps(model, optimizer, number=step + 1, first=step, call=call)
        evaluate()

    simple(t, model, loop=loop)


@scenario
def trains_on_generated_batches(t):
    def call(model, x, step):
        with torch.no_grad():
            x = model[0](x)[:, :4]
        model(x)  # its graph is thrown away
        return model(x)

    simple(t, net(nn.Dropout(0.2)), call=call)


@scenario
def calls_parts_of_the_model(t):
    simple(t, net(), call=lambda m, x, step: m[2](m[1](m[0](x))))


@scenario
def calls_the_model_many_times(t):
    simple(t, net(nn.Dropout(0.2)), call=lambda m, x, step: m(x) + m(2 * x) + m(x.relu()))


@scenario
def penalises_its_gradient(t):
    def loop(model, optimizer):
        for step in range(6):
            x = torch.randn(3, 4, requires_grad=True)
            optimizer.zero_grad()
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            (slope.square().sum() * factor(step, (3,))).backward()
            clean(model)
            optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def goes_back_twice(t):
    def loop(model, optimizer):
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(torch.randn(3, 4)).square().mean()
            loss.backward(retain_graph=True)
            loss.backward()
            optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def sets_its_gradients_itself(t):
    def loop(model, optimizer):
        for step in range(6):
            loss = model(torch.randn(3, 4)).square().mean() * factor(step, (3,))
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.grad = gradient.nan_to_num()
            optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def uses_functional_transforms(t):
    def loop(model, optimizer):
        for _ in range(5):
            weights = {name: p.detach() for name, p in model.named_parameters()}
            x = torch.randn(3, 4)

            def loss(weights, row):
                return torch.func.functional_call(model, weights, (row[None],)).square().mean()

            each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
            for name, parameter in model.named_parameters():
                parameter.grad = each[name].mean(0)
            optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def saves_memory_by_checkpoints(t):
    def call(model, x, step):
        for module in model:
            x = torch.utils.checkpoint.checkpoint(module, x, use_reentrant=bool(step % 2))
        return x

    x = torch.zeros(3, 4, requires_grad=True)
    simple(t, net(nn.Dropout(0.3)), call=lambda m, inner, step: call(m, inner + x, step))


@scenario
def detects_anomalies(t):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly(check_nan=False):
            simple(t, net())


@scenario
def goes_back_in_another_thread(t):
    def loop(model, optimizer):
        for step in range(6):
            optimizer.zero_grad()
            loss = model(torch.randn(3, 4)).square().mean() * factor(step, (3,))
            worker = threading.Thread(target=loss.backward)
            worker.start()
            worker.join()
            clean(model)
            optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def trains_in_another_thread(t):
    def loop(model, optimizer):
        worker = threading.Thread(target=steps, args=(model, optimizer))
        worker.start()
        worker.join()

    simple(t, net(), loop=loop)


# Failures of the user's own


@scenario
def fails_in_the_forward_pass(t):
    def call(model, x, step):
        try:
            model(x[:, :3])
        except RuntimeError as error:
            t.keep(str(error))
        return model(x)

    simple(t, net(), call=call)


@scenario
def fails_in_the_backward_pass(t):
    def loop(model, optimizer):
        def explode(gradient):
            raise ValueError("the user's own")

        for step in range(6):
            steps(model, optimizer, number=step + 1, first=step)
            handle = model[0].bias.register_hook(explode)
            try:
                model(torch.randn(3, 4)).mean().backward()
            except ValueError as error:
                t.keep(error)
            handle.remove()

    simple(t, net(), loop=loop)


@scenario
def fails_in_the_step(t):
    class Moody(torch.optim.SGD):
        calls = 0

        def step(self, closure=None):
            self.calls += 1
            if self.calls == 3:
                raise OSError("the user's own")
            return super().step(closure)

    model = net()
    optimizer = Moody(model.parameters(), 0.1)

    def loop(model, optimizer):
        for step in range(6):
            try:
                steps(model, optimizer, number=step + 1, first=step)
            except OSError as error:
                t.keep(error)

    simple(t, model, optimizer, loop=loop)


@scenario
def is_interrupted(t):
    model = net()
    optimizer = sgd(model)
    try:
        with t.watch(model, optimizer, "run"):
            steps(model, optimizer)
            raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        t.keep(error)
    t.keep(model, optimizer)


# Models that change


@scenario
def unfreezes_a_layer(t):
    model = net()
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)

    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model[2].requires_grad_(True)
        optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.2})
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, model, optimizer, loop=loop, run_dir="run")


@scenario
def freezes_a_layer(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model[0].requires_grad_(False)
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, net(), loop=loop)


@scenario
def trains_one_half_and_then_only_the_other(t):
    model = net()
    model[2].requires_grad_(False)

    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model.requires_grad_(True)
        model[0].requires_grad_(False)
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, model, loop=loop)


@scenario
def gets_a_new_layer(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model.append(nn.Linear(1, 1))
        optimizer.add_param_group({"params": list(model[-1].parameters())})
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, net(), loop=loop, run_dir="run")


@scenario
def gets_a_new_layer_that_no_optimizer_knows(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model.append(nn.Linear(1, 1))
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, net(), loop=loop)


@scenario
def loses_a_layer(t):
    model = net(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))

    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        del model[1]
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, model, loop=loop, run_dir="run")


@scenario
def loses_all_it_had(t):
    model = net()

    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model[0], model[2] = nn.Linear(4, 5), nn.Linear(5, 1)
        optimizer.param_groups.clear()
        optimizer.add_param_group({"params": list(model.parameters())})
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, model, sgd(model, momentum=0), loop=loop)


@scenario
def replaces_a_parameter(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model[2].weight = nn.Parameter(torch.ones(1, 5))
        optimizer.param_groups[0]["params"][2] = model[2].weight
        steps(model, optimizer, first=4, number=9, bad=(6,))

    model = net()
    simple(t, model, sgd(model, momentum=0), loop=loop)


@scenario
def widens_a_layer(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model[0], model[2] = nn.Linear(4, 7), nn.Linear(7, 1)
        optimizer.add_param_group({"params": list(model.parameters())})
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, net(), loop=loop, run_dir="run")


@scenario
def ties_its_weights_later(t):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model[2].weight = model[0].weight
        steps(model, optimizer, first=4, number=9, bad=(6,))

    simple(t, model, loop=loop)


@scenario
def changes_its_numbers_to_double(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=4)
        model.double()
        steps(model, optimizer, first=4, number=8, call=lambda m, x, step: m(x.double()))

    simple(t, net(), loop=loop)


@scenario
def loads_a_state_on_the_way(t):
    def loop(model, optimizer):
        saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        steps(model, optimizer, number=4)
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        steps(model, optimizer, first=4, number=8)

    simple(t, net(), loop=loop)


@scenario
def takes_all_hooks_away(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=2)
        model._forward_hooks.clear()
        model._forward_pre_hooks.clear()
        steps(model, optimizer, first=2)

    simple(t, net(), loop=loop)


# The watch itself


@scenario
def is_closed_twice(t):
    model = net()
    optimizer = sgd(model)
    with t.watch(model, optimizer, "run") as monitor:
        steps(model, optimizer, number=3)
        if monitor is not None:
            monitor.close()
        steps(model, optimizer, first=3)
    t.keep(model, optimizer)


@scenario
def is_closed_in_a_hook(t):
    model = net()
    optimizer = sgd(model)
    calls = []

    def close(*words):
        calls.append(1)
        if len(calls) == 3 and t.monitors:
            t.monitors[0].close()

    with t.watch(model, optimizer, "run"):
        model[1].register_forward_hook(close)
        model[2].weight.register_hook(close)
        steps(model, optimizer)
    t.keep(model, optimizer, calls)


@scenario
def is_forgotten(t):
    for _ in range(3):
        model = net()
        optimizer = sgd(model)
        t.watch(model, optimizer, f"run{_}")
        t.monitors.clear()
        steps(model, optimizer)
        t.keep(model, optimizer)
        del model, optimizer
        gc.collect()


@scenario
def is_watched_twice_at_once(t):
    model = net(nn.Dropout(0.2))
    optimizer = sgd(model)
    with t.watch(model, optimizer), t.watch(model, optimizer, schedule=1):
        steps(model, optimizer)
    t.keep(model, optimizer)


@scenario
def is_watched_again(t):
    model = net()
    optimizer = sgd(model)
    for start in (0, 4, 8):
        with t.watch(model, optimizer, "run", steps_done=start):
            steps(model, optimizer, first=start, number=start + 4, bad=(2, 6))
    t.keep(model, optimizer)


@scenario
def asks_the_watch_on_the_way(t):
    model = net()
    optimizer = sgd(model)
    with t.watch(model, optimizer, "run") as monitor:
        for step in range(6):
            steps(model, optimizer, first=step, number=step + 1)
            if monitor is not None:
                monitor.history()
                monitor.diagnose()
    t.keep(model, optimizer)


# Several optimizers


def halves(model):
    return sgd(model[0]), adam(model[2])


@scenario
def two_optimizers_and_one_watch(t):
    model = net()
    first, second = halves(model)
    with t.watch(model, [first, second]):
        together(model, first, second)
    t.keep(model, first, second)


@scenario
def two_optimizers_and_one_is_watched(t):
    model = net()
    first, second = halves(model)
    with t.watch(model, second):
        together(model, first, second)
    t.keep(model, first, second)


@scenario
def two_optimizers_and_a_watch_for_each(t):
    model = net()
    first, second = halves(model)
    with t.watch(model, first), t.watch(model, second):
        together(model, first, second)
    t.keep(model, first, second)


def together(model, first, second):
    for step in range(6):
        (model(torch.randn(3, 4)).square().mean() * factor(step, (3,))).backward()
        clean(model)
        for optimizer in (first, second):
            optimizer.step()
            optimizer.zero_grad()


def adversaries(every):
    """One part is trained against the other, the second one at some steps only."""

    def train(t):
        model = nn.ModuleDict({"maker": nn.Linear(2, 4), "judge": net()})
        maker, judge = adam(model["maker"]), adam(model["judge"])
        with t.watch(model, (judge, maker), "run", schedule=1):
            for step in range(10):
                made = model["maker"](torch.randn(3, 2))
                judge.zero_grad()
                loss = (
                    model["judge"](made.detach()).mean() - model["judge"](torch.ones(3, 4)).mean()
                )
                (loss * factor(step, (4,))).backward()
                clean(model)
                judge.step()
                if step % every == every - 1:
                    maker.zero_grad()
                    (-model["judge"](made).mean() * factor(step, (7, 8))).backward()
                    clean(model)
                    maker.step()
        t.keep(model, maker, judge)

    return train


@scenario
def adversaries_in_turn(t):
    adversaries(1)(t)


@scenario
def adversaries_of_whom_one_is_slower(t):
    adversaries(3)(t)


@scenario
def steps_inside_of_the_backward_pass(t):
    model = net()
    each = {parameter: torch.optim.SGD([parameter], 0.1) for parameter in model.parameters()}

    def step(parameter):
        each[parameter].step()
        each[parameter].zero_grad()

    with t.watch(model, each.values(), "run"):
        for parameter in each:
            parameter.register_post_accumulate_grad_hook(step)
        for _ in range(5):
            model(torch.randn(3, 4)).square().mean().backward()
    t.keep(model, *each.values())
