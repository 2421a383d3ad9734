import torch

from backlight.stats.loss import CorpusLoss

NATS = torch.tensor([3.0, 1.5], dtype=torch.float64)


def seen(*batches):
    loss = CorpusLoss()
    for nats, num_predicted in batches:
        loss.update(nats, num_predicted)
    return loss


def test_the_loss_is_the_mean_over_predicted_tokens():
    loss = seen((NATS, 6), (NATS, 3))

    assert (loss.num_batches, loss.num_predicted, loss.nats) == (2, 9, 9.0)
    assert loss.nats_per_token == 1.0


def test_without_a_loss_batches_are_counted_and_no_tokens():
    loss = seen((None, 6))

    assert (loss.num_batches, loss.num_predicted) == (1, 0)
    assert loss.nats_per_token is None


def test_parts_merge_into_the_whole_and_states_come_back():
    merged, again = seen((NATS, 6)), CorpusLoss()
    merged.merge(seen((NATS, 3), (None, 2)))
    again.restore(merged.state())

    for found in (merged, again):
        assert (found.num_batches, found.num_predicted, found.nats) == (3, 9, 9.0)
