"""Muon: momentum, orthogonalised, for weight matrices; AdamW for everything else.

The update of a matrix is its momentum with all singular values set to about one by Newton-Schulz
iteration (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), times 0.2 times the root
of its longer side, so that weights change as much as by AdamW at the same learning rate (Liu et
al., arXiv 2502.16982). In single precision, because CPUs are slow in half of it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST_SIDE = 32  # of a matrix; smaller ones are left to AdamW
MOMENTUM = 0.95
LIKE_ADAMW = 0.2  # root mean square of an update by AdamW, in units of the learning rate
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.AdamW):
    """Muon for the matrices among the parameters, and AdamW for the others.

    Parameters
    ----------
    groups
        As those of :class:`torch.optim.AdamW`.
    left_out
        Matrices that are left to AdamW all the same: tables of which a row is used at a time.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], left_out: Iterable[nn.Parameter] = ()
    ) -> None:
        super().__init__(groups, fused=True)
        self._left_out = {id(parameter) for parameter in left_out}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change all parameters that have a gradient, and return what the closure does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients: list[tuple[nn.Parameter, Tensor]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and self._takes(parameter):
                    self._change(parameter, parameter.grad, group)
                    gradients.append((parameter, parameter.grad))
                    parameter.grad = None  # AdamW passes over it
        super().step()
        for parameter, gradient in gradients:
            parameter.grad = gradient
        return loss

    def _takes(self, parameter: nn.Parameter) -> bool:
        is_matrix = parameter.ndim == 2 and min(parameter.shape) >= SMALLEST_SIDE
        return is_matrix and id(parameter) not in self._left_out

    def _change(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state, rate = self.state[parameter], group["lr"]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it when a state is loaded
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1.0 - MOMENTUM)
        update = orthogonalized(gradient.lerp(momentum, MOMENTUM))
        parameter.mul_(1.0 - rate * group["weight_decay"])
        parameter.add_(update, alpha=-rate * LIKE_ADAMW * max(parameter.shape) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return a matrix (m, n) with the same singular vectors and singular values of about one."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.mT if is_tall else matrix
    x = x / x.norm().clamp(min=1e-30)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if is_tall else x
