"""Histories made by hand: four blocks of two matrices, healthy unless a test changes them."""

from dataclasses import replace

import numpy as np

from backlight.training.doctor.diagnosis import diagnose
from backlight.training.log.history import STATISTICS, History, ParameterInfo


def parameters(num_layers=4):
    """An embedding, blocks with a norm and two matrices each, and a head."""
    found = [("wte.weight", "Embedding", (67, 32), None)]
    for layer in range(num_layers):
        found += [
            (f"h.{layer}.ln.weight", "LayerNorm", (32,), layer),
            (f"h.{layer}.attn.c_attn.weight", "Linear", (96, 32), layer),
            (f"h.{layer}.mlp.c_fc.weight", "Linear", (128, 32), layer),
        ]
    found.append(("head.weight", "Linear", (67, 32), None))
    return tuple(
        ParameterInfo(
            name=name,
            module=name.rpartition(".")[0],
            kind=kind,
            shape=shape,
            numel=int(np.prod(shape)),
            layer=layer,
            depth=depth,
        )
        for depth, (name, kind, shape, layer) in enumerate(found)
    )


def healthy(num_steps=60, num_layers=4, every=1, seed=0):
    """Norms that differ from step to step by a third, updates of a thousandth, a falling loss."""
    random = np.random.default_rng(seed)
    infos = parameters(num_layers)
    shape = (num_steps, len(infos))
    noise = np.exp(0.3 * random.standard_normal(shape))
    statistics = {name: np.zeros(shape) for name in STATISTICS}
    statistics["norm"] = 0.1 * noise
    statistics["weight_norm"] = np.array(
        [[0.02 * np.sqrt(info.numel) for info in infos]]
    ) * np.ones(shape)
    statistics["update_ratio"] = 1e-3 * np.ones(shape)
    steps = 1 + every * np.arange(num_steps)
    last = int(steps[-1]) if num_steps else 0
    losses = (
        2
        + 2.2 * np.exp(-1.5 * np.arange(last) / max(1, last))
        + 0.05 * random.standard_normal(last)
    )
    norm = np.sqrt((statistics["norm"] ** 2).sum(axis=1))
    return History(
        parameters=infos,
        steps=steps,
        statistics=statistics,
        present=np.ones(shape, dtype=bool),
        global_norm=norm,
        clipped_norm=norm,
        learning_rates=1e-3 * np.ones((num_steps, 1)),
        scale=np.full(num_steps, np.nan),
        loss_steps=np.arange(1, last + 1),
        losses=losses,
    )


def column(history, name):
    """Where a parameter is."""
    return [info.name for info in history.parameters].index(name)


def changed(history, statistic, rows, columns, factor):
    """Multiply a statistic somewhere; the global norm follows."""
    values = {name: table.copy() for name, table in history.statistics.items()}
    values[statistic][np.ix_(np.atleast_1d(rows), np.atleast_1d(columns))] *= factor
    norm = np.sqrt((values["norm"] ** 2).sum(axis=1))
    return replace(history, statistics=values, global_norm=norm, clipped_norm=norm)


def symptoms(history):
    """Name what the doctor finds in a history."""
    return {finding.symptom for finding in diagnose(history).findings}
