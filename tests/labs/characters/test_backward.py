"""Gradients at weights and behind modules, against a plain backward pass."""

import torch
from torch.testing import assert_close

from backlight.labs.characters.backward import matrix_gradients, matrix_names, module_gradients
from backlight.learning_rules import LocalGPT, LocalGPTConfig

SIZES = {"block_size": 6, "vocab_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 8}


def network(**options):
    torch.manual_seed(4)
    return LocalGPT(LocalGPTConfig(**SIZES, **options)).double()


def rows():
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randint(9, (2, 3, 6), generator=generator))


def test_gradients_are_those_of_a_backward_pass_and_leave_nothing_behind():
    model = network(method="sign_random")
    found = matrix_gradients(model, rows())
    assert all(parameter.grad is None for parameter in model.parameters())
    model(*rows())[1].backward()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    assert len(found) == len(matrix_names(model)) == 11
    assert matrix_names(model)[:3] == ["wte", "wpe", "h.0.attn.c_attn"]
    for gradient, parameter in zip(found, matrices, strict=True):
        assert_close(gradient, parameter.grad)


def test_gradients_can_be_taken_at_the_weights_of_another_network():
    plain, model = network(), network(method="fa")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    expected = network()
    expected.load_state_dict(dict(model.named_parameters()), strict=False)
    found = matrix_gradients(plain, rows(), dict(model.named_parameters()))
    assert_close(found, matrix_gradients(expected, rows()))


def test_the_gradient_behind_a_module_is_what_its_weights_learn_from():
    model = network()
    maps = {f"h.{layer}": model.transformer.h[layer].mlp.c_fc for layer in range(2)}
    found = module_gradients(model, rows(), maps)
    assert not any(module._forward_hooks for module in model.modules())
    model(*rows())[1].backward()
    for name, (read, gradient) in found.items():
        assert_close(maps[name].weight.grad, gradient.flatten(0, 1).T @ read.flatten(0, 1))
