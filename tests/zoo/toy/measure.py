import numpy as np

from backlight.capture.record import record
from backlight.data.batches import Batch
from backlight.objectives.objective import NextToken
from backlight.stats.base import Sums
from backlight.stats.progress import Progress
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.shards.sharding import Sharding


class Lengths(Sums):
    def __init__(self):
        super().__init__({"length": np.zeros(1), "tokens": np.zeros(1), "batches": np.zeros(1)})

    def update(self, lengths):
        for name, value in {"length": lengths.sum(), "tokens": len(lengths), "batches": 1}.items():
            self._sums[name] += float(value)

    def result(self, name):
        return self._sums[name]


def seen(state):
    return int(state.result("batches")[0])


def prepare(options, opening):
    corpus = opening.corpus()

    def steps(batches, state):
        subject, site = corpus.subject, corpus.subject.sites["embed.out"]
        for members in batches[seen(state) :]:
            batch = Batch.of(corpus.passages, members).to(subject.device)
            tape = record(subject, batch, [site], objective=NextToken("sequence_mean"))
            state.update(tape.gradients[site.name][batch.valid].double().norm(dim=-1).cpu())
            yield Progress(num_tokens=batch.num_tokens)

    return Measurement(
        corpus=corpus,
        run_name="toy",
        title="a toy",
        state=Lengths(),
        sharding=Sharding.of(
            corpus.passages, corpus.batches, fresh=Lengths, steps=steps, seen=seen
        ),
        plan=None,
    )
