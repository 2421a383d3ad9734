"""Jacobians of one step of time, and the norm of their product over many.

For a recurrent network x(t) = W s(x(t-1)) + u(t) the Jacobian of a step is W diag(s'(x(t-1)))
(Pascanu et al. 2013); an LSTM's state is its output h and its cell c, side by side.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.learning_rules import LocalGPT, LocalGPTConfig

Cell = Literal["linear", "tanh", "sigmoid"]
Matrix = Literal["gaussian", "orthogonal", "non-normal"]

LSTM, GATES, TRANSFORMER = "LSTM", "LSTM, forget gates only", "transformer"
"""Networks that are not simple recurrent ones, by the names in tables."""

GAMMA = {"linear": 1.0, "tanh": 1.0, "sigmoid": 0.25}
"""The largest slope of each cell's function."""

# Each function, and its slope by the function's value.
_FUNCTIONS: dict[Cell, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "linear": (lambda x: x, torch.ones_like),
    "tanh": (torch.tanh, lambda y: 1 - y.square()),
    "sigmoid": (torch.sigmoid, lambda y: y * (1 - y)),
}


def recurrent_matrix(
    matrix: Matrix, width: int, radius: float, generator: torch.Generator
) -> Float[Tensor, "width width"]:
    """Draw a matrix of a given spectral radius.

    Args:
        matrix: ``gaussian``: independent entries; ``orthogonal``: all singular values are the
            radius; ``non-normal``: triangular, eigenvalues on the diagonal, and above it normal
            entries of standard deviation 2 / sqrt(width).
        width: Its size.
        radius: The largest absolute eigenvalue.
        generator: Where chance comes from.

    Returns:
        The matrix, in float64.
    """
    entries = torch.randn(width, width, dtype=torch.float64, generator=generator)
    if matrix == "orthogonal":
        return radius * torch.linalg.qr(entries).Q
    if matrix == "gaussian":
        return entries * (radius / torch.linalg.eigvals(entries).abs().max())
    eigenvalues = 2 * torch.rand(width, dtype=torch.float64, generator=generator) - 1
    eigenvalues *= radius / eigenvalues.abs().max()
    return eigenvalues.diag() + entries.triu(1) * (2 / width**0.5)


def slopes_through_time(
    cell: Cell, weights: Float[Tensor, "width width"], inputs: Float[Tensor, "steps width"]
) -> Float[Tensor, "steps width"]:
    """Run a recurrent network from zero, and return the slopes s'(x) by which it passes on errors.

    Args:
        cell: Its function s.
        weights: W.
        inputs: u(1), u(2), ...

    Returns:
        s'(x(0)), s'(x(1)), ...: of the state before each step.
    """
    function, slope = _FUNCTIONS[cell]
    x, slopes = torch.zeros_like(inputs[0]), list[Tensor]()
    for u in inputs:
        y = function(x)
        slopes.append(slope(y))
        x = weights @ y + u
    return torch.stack(slopes)


def lstm_jacobians(
    cell: nn.LSTMCell, inputs: Float[Tensor, "steps inputs"]
) -> tuple[Float[Tensor, "steps both both"], Float[Tensor, "steps width"]]:
    """Run an LSTM from zero and compute each step's Jacobian.

    Args:
        cell: The LSTM.
        inputs: What it reads.

    Returns:
        The Jacobians of (h, c) with respect to the (h, c) before, and the forget gates.
    """
    weights, bias = cell.weight_hh.detach(), cell.bias_ih.detach() + cell.bias_hh.detach()
    w_in, w_forget, w_new, w_out = weights.chunk(4)
    h = c = inputs.new_zeros(cell.hidden_size)
    jacobians, gates = list[Tensor](), list[Tensor]()
    for u in inputs:
        sums = cell.weight_ih.detach() @ u + weights @ h + bias
        i, f, g, o = sums.chunk(4)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c_by_h = (
            (c * f * (1 - f)).unsqueeze(1) * w_forget
            + (g * i * (1 - i)).unsqueeze(1) * w_in
            + (i * (1 - g.square())).unsqueeze(1) * w_new
        )
        c = f * c + i * g
        squashed = c.tanh()
        h = o * squashed
        through = (o * (1 - squashed.square())).unsqueeze(1)
        h_by_h = through * c_by_h + (squashed * o * (1 - o)).unsqueeze(1) * w_out
        rows = [torch.cat([h_by_h, through * f.diag()], 1), torch.cat([c_by_h, f.diag()], 1)]
        jacobians.append(torch.cat(rows))
        gates.append(f)
    return torch.stack(jacobians), torch.stack(gates)


def log_product_norms(
    jacobians: Float[Tensor, "steps width width"], lags: Sequence[int]
) -> Float[Tensor, " lags"]:
    """Compute the norm of d x(T) / d x(T-k) for some k, however small or large.

    The product is divided by its length at every step, and the logarithm of the length is kept.

    Args:
        jacobians: The Jacobian of each step, in the order of time.
        lags: The k, rising, from 1 to the number of steps.

    Returns:
        Natural logarithms of the spectral norms of the last k Jacobians' product.
    """
    # Norms of products of 1,000 Jacobians leave float64's range; their logarithms do not.
    product = torch.eye(jacobians.shape[-1]).to(jacobians)
    log_length = torch.zeros((), dtype=torch.float64)
    products, lengths, wanted = list[Tensor](), list[Tensor](), set(lags)
    for lag, jacobian in enumerate(jacobians.flip(0), start=1):
        product = product @ jacobian
        length = torch.linalg.matrix_norm(product)
        product, log_length = product / length, log_length + length.log().cpu()
        if lag in wanted:
            products.append(product)
            lengths.append(log_length)
    norms = torch.linalg.matrix_norm(torch.stack(products), ord=2)
    return norms.log().cpu() + torch.stack(lengths)


def transformer_norms(
    config: LocalGPTConfig, seed: int, device: torch.device
) -> Float[Tensor, " lags"]:
    """Measure what the last position's output owes to each earlier position's embedding.

    Args:
        config: The shape of a transformer, at its first weights; its block size is T + 1.
        seed: The seed of the weights, and of what is read.
        device: Where it runs, in float32.

    Returns:
        The spectral norm of d output(T) / d embedding(T-k), for k = 1, 2, ..., T.
    """
    torch.manual_seed(seed)
    parts = LocalGPT(config).to(device).transformer
    tokens = torch.randint(config.vocab_size, (1, config.block_size)).to(device)
    embedded = parts.wte(tokens) + parts.wpe(torch.arange(config.block_size, device=device))
    embedded = embedded.detach().requires_grad_()
    x = embedded
    for block in parts.h:
        x = block(x)
    last = parts.ln_f(x)[0, -1]
    rows = [torch.autograd.grad(value, embedded, retain_graph=True)[0][0] for value in last]
    jacobians = torch.stack(rows, dim=1).double()
    return torch.linalg.matrix_norm(jacobians, ord=2).cpu().flip(0)[1:]
