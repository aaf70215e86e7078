"""What reverse passes are made of: layers and heads that give the gradient of their input too."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class Dense(nn.Module):
    """Affine layer that hands back the gradient of its input too."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Buffer(layer.weight.detach().t().contiguous())
        self.bias = nn.Buffer(layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs)."""
        return torch.addmm(self.bias, x, self.weight)

    @torch.jit.export
    def reverse(self, gradient: Tensor) -> Tensor:
        """Return the gradient (N, inputs) of the input from that of the output."""
        return torch.mm(gradient, self.weight.t())


class HiddenReadout(nn.Module):
    """Head with a hidden layer, ``output([z, silu(hidden(z))])``, less the bias of ``output``."""

    def __init__(self, hidden: nn.Linear, output: nn.Linear) -> None:
        super().__init__()
        weight = output.weight.detach()[0]
        self.hidden = Dense(hidden)
        self.direct = nn.Buffer(weight[: hidden.in_features].clone())
        self.output = nn.Buffer(weight[hidden.in_features :].clone())

    def forward(self, features: Tensor, n_owned: int) -> tuple[Tensor, Tensor]:
        """Return energies (N,), and the gradient (N, F) of the sum of the first ``n_owned``."""
        hidden = self.hidden(features)
        energies = torch.mv(features, self.direct).addmv_(silu(hidden), self.output)
        inner = torch.ops.aten.silu_backward(self.output.expand_as(hidden), hidden)
        gradient = self.hidden.reverse(inner).add_(self.direct)
        gradient.narrow(0, n_owned, len(gradient) - n_owned).zero_()
        return energies, gradient


class LinearReadout(nn.Module):
    """Head without a hidden layer, less its bias."""

    def __init__(self, output: nn.Linear) -> None:
        super().__init__()
        self.direct = nn.Buffer(output.weight.detach()[0].clone())

    def forward(self, features: Tensor, n_owned: int) -> tuple[Tensor, Tensor]:
        """Return energies (N,), and the gradient (N, F) of the sum of the first ``n_owned``."""
        gradient = self.direct.repeat(len(features), 1)
        gradient.narrow(0, n_owned, len(gradient) - n_owned).zero_()
        return torch.mv(features, self.direct), gradient


def readout(hidden: nn.Linear | None, output: nn.Linear) -> nn.Module:
    """Return the module of a folded head. Its additive constant is left to the caller."""
    return LinearReadout(output) if hidden is None else HiddenReadout(hidden, output)


def edge_gradients(
    slope: Tensor, direction_gradient: Tensor, direction: Tensor, inverse: Tensor
) -> Tensor:
    """Return the gradients (E, 3) of edge vectors; writes over the first two arguments.

    Parameters
    ----------
    slope
        Gradient of the distance (E, 1).
    direction_gradient, direction
        Gradient of the unit vector, and the unit vector (E, 3).
    inverse
        One over the distance (E, 1).
    """
    across = direction_gradient.mul_(inverse)
    along = slope.sub_((across * direction).sum(1, keepdim=True))
    return across.addcmul_(along, direction)


def by_number(rows: Tensor, elements: Sequence[int]) -> Tensor:
    """Spread rows over atomic numbers; an unknown element gives NaN, not a wrong number."""
    table = rows.new_full((max(elements) + 1, *rows.shape[1:]), torch.nan)
    table[torch.as_tensor(elements)] = rows
    return table
