"""One energy readout per fidelity on shared atomic features."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class FidelityHeads(nn.Module):
    """Atomic energies of every fidelity from the backbone's features.

    A head is linear on the features and on one hidden layer of them:
    ``E_i = w . [z_i, silu(W z_i + b)] + c``, or without one, ``E_i = w . z_i + c``. A head trained
    as a correction on another one shares that head's hidden layer and adds its own ``w`` and ``c``,
    which start at zero, so the two fold into a single readout of the same size (:meth:`folded`).

    Parameters
    ----------
    features
        Width F of the backbone's features.
    hidden
        Width H of the hidden layer of each independent head; 0 for linear heads.
    fidelities
        Names of the fidelities, in the order of the output columns.
    correction_on
        Which fidelity's head another one's corrects, ``{"wb97x": "gfn2"}``; no chains.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        fidelities: Sequence[str],
        correction_on: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.fidelities = list(fidelities)
        self.correction_on = dict(correction_on or {})
        self._check()
        self.roots = [f for f in self.fidelities if f not in self.correction_on]
        self.hidden = nn.ModuleDict(
            {f: nn.Linear(features, hidden) for f in self.roots if hidden > 0}
        )
        outputs = {f: nn.Linear(features + hidden, 1) for f in self.fidelities}
        for fidelity, output in outputs.items():
            nn.init.zeros_(output.bias)
            if fidelity in self.correction_on:
                nn.init.zeros_(output.weight)
        self.output = nn.ModuleDict(outputs)
        self.scale = nn.ParameterDict(
            {f: nn.Parameter(torch.ones(()), requires_grad=False) for f in self.fidelities}
        )

    def _check(self) -> None:
        for corrected, base in self.correction_on.items():
            if corrected not in self.fidelities or base not in self.fidelities:
                raise ValueError(
                    f"correction {corrected!r} on {base!r} names an unknown fidelity: "
                    f"there are {', '.join(self.fidelities)}"
                )
            if base in self.correction_on:
                raise ValueError(f"{corrected!r} corrects {base!r}, which is a correction itself")

    def layer(self, features: Tensor, fidelity: str) -> Tensor:
        """Return ``[z, silu(W z + b)]`` (N, F + H), what the fidelity's head is linear on."""
        root = self.correction_on.get(fidelity, fidelity)
        if root not in self.hidden:
            return features
        return torch.cat([features, silu(self.hidden[root](features))], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return scaled atomic energies (N, n_fidelities) in eV, without reference energies."""
        layers = {f: self.layer(features, f) for f in self.roots}
        columns = {}
        for fidelity in self.fidelities:
            root = self.correction_on.get(fidelity, fidelity)
            columns[fidelity] = self.scale[fidelity] * self.output[fidelity](layers[root])
        for corrected, base in self.correction_on.items():
            columns[corrected] = columns[corrected] + columns[base]
        return torch.cat([columns[f] for f in self.fidelities], dim=1)

    @torch.no_grad()
    def folded(self, fidelity: str) -> tuple[nn.Linear | None, nn.Linear]:
        """Return hidden layer, if any, and output layer of one fidelity alone, scales merged."""
        base = self.correction_on.get(fidelity)
        root = base or fidelity
        hidden = dict(self.hidden.items()).get(root)
        output = self.output[fidelity]
        assert hidden is None or isinstance(hidden, nn.Linear)
        assert isinstance(output, nn.Linear)
        weight = self.scale[fidelity] * output.weight
        bias = self.scale[fidelity] * output.bias
        if base is not None:
            weight = weight + self.scale[base] * self.output[base].weight
            bias = bias + self.scale[base] * self.output[base].bias
        folded = nn.Linear(output.in_features, 1, dtype=weight.dtype)
        folded.weight.copy_(weight)
        folded.bias.copy_(bias)
        return hidden, folded
