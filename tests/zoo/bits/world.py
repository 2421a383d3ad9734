"""What fails around a training: disks, terminals, copies, processes, other people's functions."""

import contextlib
import copy
import errno
import io
import mmap
import multiprocessing
import os
import pickle
import pty
import shutil
import signal
import sys
import warnings
from unittest import mock

import numpy as np
import torch
from torch import nn

from backlight.training.log import writer
from backlight.training.log.reading import LOG
from backlight.training.measuring import measurement
from backlight.training.non_finite import snapshot
from zoo.bits.harness import clean, factor, net, scenario, sgd, simple, steps


def full(*words, **names):
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_at(holder, name, error=full):
    def train(t):
        with mock.patch.object(holder, name, error):
            simple(t, net(), run_dir="run")

    return train


@scenario
def the_disk_is_full_at_the_snapshot(t):
    broken_at(snapshot, "save_file")(t)


@scenario
def the_disk_is_full_at_the_note_of_the_snapshot(t):
    broken_at(snapshot, "write_file")(t)


@scenario
def the_disk_is_full_at_the_header(t):
    broken_at(writer, "write_file")(t)


@scenario
def the_disk_is_full_at_a_line(t):
    broken_at(writer.TrainingLog, "_append")(t)


@scenario
def there_is_no_memory(t):
    def error(*words):
        raise MemoryError

    broken_at(measurement, "gradient_statistics", error)(t)


@scenario
def no_process_can_be_forked(t):
    with mock.patch("os.fork", full):
        simple(t, net())


def interfering(act, at=4):
    """Something happens to the run directory in the middle."""

    def train(t):
        def loop(model, optimizer):
            steps(model, optimizer, number=at)
            if t.watched:
                act(t.folder)
            steps(model, optimizer, first=at, number=12, bad=(at + 1,))

        simple(t, net(), loop=loop, run_dir="run", options={"schedule": 1})

    return train


@scenario
def the_run_directory_is_deleted(t):
    interfering(lambda folder: shutil.rmtree(folder / "run"))(t)


@scenario
def the_run_directory_is_deleted_before_the_first_step(t):
    interfering(lambda folder: shutil.rmtree(folder / "run"), at=0)(t)


@scenario
def the_run_directory_is_moved(t):
    interfering(lambda folder: (folder / "run").rename(folder / "elsewhere"))(t)


@scenario
def the_run_directory_becomes_a_file(t):
    def act(folder):
        shutil.rmtree(folder / "run")
        (folder / "run").write_text("mine")

    interfering(act)(t)


@scenario
def the_log_is_replaced(t):
    def act(folder):
        (folder / "run" / LOG).unlink()
        (folder / "run" / LOG).mkdir()

    interfering(act)(t)


@scenario
def the_directory_of_the_program_changes(t):
    here = os.getcwd()  # noqa: PTH109
    try:
        interfering(lambda folder: os.chdir("/"))(t)
    finally:
        os.chdir(here)


# Terminals


def shown(t, stream):
    with mock.patch.object(sys, "stderr", stream):
        simple(t, net(), run_dir="run", options={"status": True, "schedule": 1})


@scenario
def there_is_no_stderr(t):
    shown(t, None)


@scenario
def stderr_is_closed(t):
    stream = io.StringIO()
    stream.close()
    shown(t, stream)


@scenario
def stderr_is_full(t):
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        stream.isatty = lambda: True
        shown(t, stream)
        with contextlib.suppress(OSError):
            stream.close()


@scenario
def stderr_goes_away_in_the_middle(t):
    stream = io.StringIO()
    stream.isatty = lambda: True

    def loop(model, optimizer):
        steps(model, optimizer, number=3)
        stream.close()
        steps(model, optimizer, first=3)

    with mock.patch.object(sys, "stderr", stream):
        simple(t, net(), loop=loop, options={"status": True, "schedule": 1})


@scenario
def the_terminal_is_closed(t):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w")

    def loop(model, optimizer):
        steps(model, optimizer, number=3)
        os.close(master)
        steps(model, optimizer, first=3)

    try:
        with mock.patch.object(sys, "stderr", stream):
            simple(t, net(), loop=loop, options={"status": True, "schedule": 1})
    finally:
        signal.signal(signal.SIGHUP, before)
        with contextlib.suppress(OSError):
            stream.close()


@scenario
def warnings_are_errors(t):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broken_at(writer.TrainingLog, "_append")(t)
        simple(t, net(), options={"loss_of": lambda output: output["loss"]})


@scenario
def warnings_cannot_be_shown(t):
    with mock.patch("warnings.showwarning", full), mock.patch("warnings.warn", full):
        simple(t, net(), options={"loss_of": lambda output: output["loss"]})


# Other people's functions


@scenario
def the_loss_cannot_be_found(t):
    simple(t, net(), options={"loss_of": lambda output: output["loss"]})


@scenario
def the_loss_is_no_number(t):
    for wrong in ("a word", [1.0], torch.ones(2, 2), object(), None, torch.ones((), device="meta")):
        simple(t, net(), options={"loss_of": lambda output, wrong=wrong: wrong})


@scenario
def the_schedule_fails_later(t):
    simple(t, net(), options={"schedule": lambda step: [True, True, True, True][step]})


@scenario
def a_sink_fails(t):
    class Sink:
        def write(self, step, numbers):
            numbers.clear()
            raise ConnectionError(step)

        def close(self):
            raise ConnectionError

    simple(t, net(), options={"sinks": [Sink(), Sink()]})


@scenario
def a_sink_closes_the_watch(t):
    class Sink:
        def write(self, *words):  # noqa: ARG002
            t.monitors[0].close()

        def close(self):
            t.monitors[0].close()

    model = net()
    optimizer = sgd(model)
    with t.watch(model, optimizer, "run", sinks=[Sink()]):
        optimizer.register_step_post_hook(lambda *words: t.keep("a hook behind ours"))
        steps(model, optimizer)
    t.keep(model, optimizer)


@scenario
def an_error_cannot_be_shown(t):
    class ShyError(Exception):
        def __str__(self):
            raise self

    def fail(output):
        raise ShyError

    simple(t, net(), options={"loss_of": fail})


@scenario
def an_error_is_very_deep(t):
    def fail(output):
        return fail(output)

    simple(t, net(), options={"loss_of": fail})


# Copies


def copied(make):
    """In the middle a copy is made, and trained beside the model."""

    def train(t):
        model = net(nn.Dropout(0.2))
        optimizer = sgd(model)
        with t.watch(model, optimizer, "run"):
            steps(model, optimizer, number=3)
            twin = make(model)
            other = sgd(twin)
            steps(twin, other)
            steps(model, optimizer, first=3)
        steps(twin, other, number=2)
        t.keep(model, optimizer, twin, other)

    return train


def through(save, load):
    def make(model):
        buffer = io.BytesIO()
        save(model, buffer)
        buffer.seek(0)
        return load(buffer)

    return make


@scenario
def the_model_is_copied(t):
    copied(copy.deepcopy)(t)


@scenario
def the_model_is_saved_by_torch(t):
    copied(through(torch.save, lambda file: torch.load(file, weights_only=False)))(t)


@scenario
def the_model_is_pickled(t):
    copied(through(pickle.dump, pickle.load))(t)


@scenario
def the_model_is_copied_before_the_first_step(t):
    model = net()
    optimizer = sgd(model)
    with t.watch(model, optimizer, activations=False):
        twin = copy.deepcopy(model)
        other = sgd(twin)
        steps(model, optimizer)
        steps(twin, other)
    t.keep(model, twin)


@scenario
def an_average_of_the_model_is_kept(t):
    def loop(model, optimizer):
        average = torch.optim.swa_utils.AveragedModel(model, use_buffers=True)
        for step in range(6):
            steps(model, optimizer, number=step + 1, first=step)
            average.update_parameters(model)
        t.keep(average, average(torch.ones(2, 4)))

    simple(t, net(nn.BatchNorm1d(5)), loop=loop)


@scenario
def the_optimizer_is_copied(t):
    model = net()
    optimizer = sgd(model)
    with t.watch(model, optimizer):
        steps(model, optimizer, number=3)
        twin, other = copy.deepcopy((model, optimizer))
        steps(twin, other)
        steps(model, optimizer, first=3)
    t.keep(model, optimizer, twin, other)


@scenario
def the_model_is_traced(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(model, torch.ones(2, 4))
        t.keep(traced(torch.ones(2, 4)))
        steps(model, optimizer, first=3)

    simple(t, net(), loop=loop)


# Processes


@scenario
def a_child_trains_a_copy(t):
    def loop(model, optimizer):
        steps(model, optimizer, number=3)
        child = os.fork()
        if child == 0:
            try:
                steps(model, optimizer, first=3)
                for monitor in t.monitors:
                    monitor.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        steps(model, optimizer, first=3)

    simple(t, net(), loop=loop, run_dir="run", options={"schedule": 1})


@scenario
def batches_come_from_other_processes(t):
    rows = torch.randn(12, 4)
    loader = torch.utils.data.DataLoader(rows, 3, num_workers=1, shuffle=True)

    def loop(model, optimizer):
        for step, x in enumerate(loader):
            optimizer.zero_grad()
            (model(x).square().mean() * factor(step, (1,))).backward()
            clean(model)
            optimizer.step()

    simple(t, net(), loop=loop)


@scenario
def dead_children_are_ignored(t):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        simple(t, net())
    finally:
        signal.signal(signal.SIGCHLD, before)


@scenario
def one_process_of_data_parallelism(t):
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(net())
        simple(t, model, run_dir="run")
    finally:
        torch.distributed.destroy_process_group()


@scenario
def data_parallelism_without_devices(t):
    with mock.patch("torch.nn.parallel.data_parallel._get_all_device_indices", list):
        simple(t, nn.DataParallel(net()))


# Tensors


@scenario
def half_precision(t):
    for dtype in (torch.bfloat16, torch.float16):
        model = net().to(dtype)
        simple(t, model, call=lambda m, x, step, dtype=dtype: m(x.to(dtype)), run_dir=str(dtype))


@scenario
def sparse_gradients(t):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(7, 4, sparse=True)

        def forward(self, x):
            return self.words(x.abs().long() % 7)

    model = Words()
    simple(t, model, torch.optim.SGD(model.parameters(), 0.1), bad=(), run_dir="run")


@scenario
def complex_tensors(t):
    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()
            self.register_buffer("wave", torch.exp(1j * torch.arange(4)))
            self.frozen = nn.Parameter(torch.ones(4, dtype=torch.complex64), requires_grad=False)

        def forward(self, x):
            return self.net((x * self.wave * self.frozen).real)

    simple(t, Waves(), run_dir="run")


@scenario
def whole_numbers_as_parameters(t):
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()
            self.codes = nn.Parameter(torch.ones(4, dtype=torch.int8), requires_grad=False)
            small = torch.ones(4).to(torch.float8_e4m3fn)
            self.small = nn.Parameter(small, requires_grad=False)

        def forward(self, x):
            return self.net(x * self.codes * self.small.float())

    simple(t, Quantised(), run_dir="run")


@scenario
def tensors_of_other_layouts(t):
    class Layouts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()
            self.register_buffer("rows", torch.eye(4).to_sparse())
            self.register_buffer("lines", torch.eye(4).to_sparse_csr())
            self.register_buffer("nowhere", torch.ones(4, device="meta"))
            self.frozen = nn.Parameter(torch.ones(4, device="meta"), requires_grad=False)

        def forward(self, x):
            return self.net((self.rows @ x.T).T)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        simple(t, Layouts(), run_dir="run")


@scenario
def a_sparse_parameter(t):
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()
            self.rows = nn.Parameter(torch.eye(4).to_sparse())

        def forward(self, x):
            return self.net(torch.sparse.mm(self.rows, x.T).T)

    model = Sparse()
    simple(t, model, torch.optim.SGD(model.net.parameters(), 0.1), bad=(), run_dir="run")


@scenario
def tensors_of_no_and_of_one_number(t):
    class Sizes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()
            self.none = nn.Parameter(torch.zeros(0, 3))
            self.one = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.net(x * self.one) + self.none.sum()

    simple(t, Sizes(), run_dir="run")


@scenario
def a_kind_of_tensor_of_the_user(t):
    class Moody(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, arguments=(), names=None):
            if "norm" in str(function):
                raise NotImplementedError("no norms of this")
            return super().__torch_function__(function, types, arguments, names or {})

    model = net()
    model[0].weight = nn.Parameter(model[0].weight.detach().as_subclass(Moody))
    simple(t, model, run_dir="run")


class _Counting(nn.Module):
    """Normalises batches, and counts them, in memory that other processes see."""

    def __init__(self):
        super().__init__()
        self.inside = net(nn.BatchNorm1d(5))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count += 1
        return self.inside(x)


@scenario
def the_model_is_in_shared_memory(t):
    simple(t, _Counting().share_memory(), run_dir="run")


@scenario
def the_program_counts_in_shared_memory(t):
    counted, mapped = multiprocessing.Value("i", 0), mmap.mmap(-1, 8)
    path = t.folder / "array"
    array = np.memmap(path, dtype=np.float32, mode="w+", shape=(1,))
    model = net()

    def count(module, inputs):
        with counted.get_lock():
            counted.value += 1
        mapped[0] += 1
        array[0] += 1

    model.register_forward_pre_hook(count)
    simple(t, model, run_dir="run")
    t.keep(counted.value, mapped[0], float(array[0]))


def told_of_ends(t, handler):
    before = signal.signal(signal.SIGCHLD, handler)
    try:
        simple(t, net(), run_dir="run")
    finally:
        signal.signal(signal.SIGCHLD, before)


@scenario
def the_program_counts_processes_that_end(t):
    ended = []
    told_of_ends(t, lambda *words: ended.append(words[0]))
    t.keep(ended)


@scenario
def the_program_fails_when_a_process_ends(t):
    def fail(*words):
        raise RuntimeError("a worker has died")

    told_of_ends(t, fail)
