"""The warning index of heads is what setting each head's part aside by hooks says it is."""

import numpy as np
import torch

from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.measure.survey import Flow, survey_flow
from backlight.surveys.flow.tables import flow_tables
from zoo.subjects import passages_of, subject_of


def by_hooks(subject, layer, num_heads):
    """Compute each head's term of the stream in full, passage by passage, without pads."""
    block, sizes, products = subject.model.model.layers[layer], [], []
    weight = block.self_attn.o_proj.weight.detach()
    for tokens in passages_of().tokens:
        ids, seen = torch.from_numpy(tokens)[None], {}

        def keep(module, inputs, seen=seen):
            inputs[0].retain_grad()
            seen["z"] = inputs[0]

        def keep_stream(module, inputs, seen=seen):
            seen["r"] = inputs[0].detach()[0]

        handles = [
            block.self_attn.o_proj.register_forward_pre_hook(keep),
            block.post_attention_layernorm.register_forward_pre_hook(keep_stream),
        ]
        logits = subject.model(ids).logits[0, :-1]
        torch.nn.functional.cross_entropy(logits, ids[0, 1:]).backward()
        for handle in handles:
            handle.remove()
        z, gradient, lengths = seen["z"].detach()[0], seen["z"].grad[0], seen["r"].norm(dim=-1)
        terms = [
            part @ columns.T
            for part, columns in zip(
                z.chunk(num_heads, dim=1), weight.chunk(num_heads, dim=1), strict=True
            )
        ]
        sizes.append(torch.stack([term.norm(dim=-1) / lengths for term in terms], dim=1))
        products.append((z * gradient).sum(dim=0).unflatten(0, (num_heads, -1)).sum(dim=1))
    return torch.cat(sizes).mean(dim=0).numpy(), -torch.stack(products).mean(dim=0).numpy()


def test_heads_are_as_large_as_what_they_add_to_the_stream():
    subject = subject_of("llama", torch.float64)
    state = Flow({"attention": AttentionView(subject, [0, 1])})
    for _ in survey_flow(subject, passages_of(), [[0, 1, 2], [3, 4, 5]], state):
        pass

    table = flow_tables(state)[0]

    size, change = by_hooks(subject, 1, 4)
    own = table["layer"] == 1
    np.testing.assert_allclose(table["relative_size"][own], size, rtol=1e-9)
    np.testing.assert_allclose(table["predicted_change"][own], change, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(table["warning_index"][own], size**2 / np.abs(change), rtol=1e-6)
