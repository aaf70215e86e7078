"""Atomic energies and edge gradients by autograd, for backbones without a hand-derived pass."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


@torch.jit.script
class _Recording:
    """What ``torch.enable_grad`` is in Python; TorchScript knows only ``torch.no_grad``."""

    def __init__(self) -> None:
        self.before = False

    def __enter__(self) -> None:
        self.before = torch.is_grad_enabled()
        torch.set_grad_enabled(True)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        torch.set_grad_enabled(self.before)


class AutogradGradient(nn.Module):
    """Atomic energies of a backbone with one head, and their gradients; can be scripted.

    Parameters
    ----------
    backbone
        The trained backbone.
    head
        What :func:`~idle_md.nn.reverse.readout` gives.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.head = head

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N,) and edge gradients (E, 3), see the edge contract."""
        # Of its own memory: what is detached alone would, in a frozen module, be the caller's
        # tensor, and require a gradient from then on.
        vectors = edge_vectors.detach().clone().requires_grad_(True)  # (E, 3)
        with _Recording():
            features = self.backbone(species, edge_index, vectors)  # (N, F)
        energies, weights = self.head(features.detach(), n_owned)  # (N,), (N, F)
        gradients = torch.zeros_like(edge_vectors)  # (E, 3)
        if features.requires_grad:  # it does not where there are no edges
            outer: list[Tensor | None] = [weights]  # TorchScript knows no list[Tensor] here
            got = torch.autograd.grad([features], [vectors], outer, allow_unused=True)  # type: ignore[arg-type]
            own = got[0]
            if own is not None:
                gradients = own.detach()
        return energies, gradients
