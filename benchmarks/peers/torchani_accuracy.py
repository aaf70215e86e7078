"""Train a network of ANI-2x's sizes on energies and forces, TorchANI's documented way.

Runs in TorchANI's environment, see ``torchani.txt``; started by ``benchmarks/peers_accuracy.py``.
Optimiser and loss are those of TorchANI's training example with its force training switched on:
AdamW with a weight decay of 1e-6, squared errors in hartree, energies over the root of the number
of atoms, forces with a coefficient of 0.1. Self energies come from a linear fit, as in its
``sae_estimation``, and are taken off the labels. Changed, in the network's favour: the learning
rate falls to nothing over the time that there is, where the example waits for 100 epochs without
improvement; batches are of a size for a small data set; and validation looks at forces as well.
"""

import argparse
import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers.clock import cpu_seconds
from peers.torchani_inference import ani
from torch import Tensor
from torchani.arch import ANI
from torchani.constants import ATOMIC_NUMBER
from torchani.grad import forces_for_training

HARTREE = 27.211386245988
FORCE_COEFFICIENT = 0.1
WEIGHT_DECAY = 1e-6
SYMBOLS = ("H", "C", "N", "O")
VALIDATIONS = 25
CHUNK = 128


@dataclass
class Part:
    """Geometries, padded with atoms of number -1: hartree and angstrom."""

    species: Tensor  # (G, A)
    positions: Tensor  # (G, A, 3)
    energies: Tensor  # (G,), less the self energies
    forces: Tensor  # (G, A, 3)

    def __getitem__(self, rows: Tensor | slice) -> "Part":
        species = self.species[rows]
        width = int((species >= 0).sum(1).max())  # what no geometry fills is left out
        positions, forces = self.positions[rows][:, :width], self.forces[rows][:, :width]
        return Part(species[:, :width], positions, self.energies[rows], forces)

    def __len__(self) -> int:
        return len(self.energies)

    def chunks(self) -> "list[Part]":
        """Return all geometries, a few at a time."""
        return [self[first : first + CHUNK] for first in range(0, len(self), CHUNK)]


def read(file: Path) -> tuple[dict[str, Part], NDArray[np.float64]]:
    """Return the parts by name, and the sums of self energies in eV of the test geometries."""
    with np.load(file) as stored:
        arrays = dict(stored)
    numbers = [ATOMIC_NUMBER[symbol] for symbol in SYMBOLS]
    counts = {
        name: np.stack([(arrays[f"{name}_species"] == z).sum(1) for z in numbers], 1)
        for name in ("train", "validation", "test")
    }
    fitted = np.linalg.lstsq(counts["train"], arrays["train_energies"], rcond=None)[0]
    parts = {}
    for name, count in counts.items():
        residual = arrays[f"{name}_energies"] - count @ fitted
        parts[name] = Part(
            torch.from_numpy(arrays[f"{name}_species"]),
            torch.from_numpy(arrays[f"{name}_positions"]).float(),
            torch.from_numpy(residual / HARTREE).float(),
            torch.from_numpy(arrays[f"{name}_forces"] / HARTREE).float(),
        )
    return parts, counts["test"] @ fitted


def predict(model: ANI, batch: Part, training: bool) -> tuple[Tensor, Tensor]:
    """Return energies (B,) and forces (B, A, 3)."""
    positions = batch.positions.clone().requires_grad_(True)
    energies = model((batch.species, positions)).energies
    if training:
        return energies, forces_for_training(energies, positions)
    return energies.detach(), -torch.autograd.grad(energies.sum(), positions)[0]


def loss_of(model: ANI, batch: Part) -> Tensor:
    """Return the loss of TorchANI's training example."""
    n_atoms = (batch.species >= 0).sum(1)
    energies, forces = predict(model, batch, training=True)
    energy = ((energies - batch.energies) ** 2 / n_atoms.sqrt()).mean()
    force = (((forces - batch.forces) ** 2).sum((1, 2)) / n_atoms).mean()
    return energy + FORCE_COEFFICIENT * force


def score(model: ANI, part: Part) -> float:
    """Return what ``idle-md train`` goes by: meV per atom plus a tenth of meV/angstrom."""
    energy, force, n_atoms = 0.0, 0.0, 0
    for chunk in part.chunks():
        own = (chunk.species >= 0).sum(1)
        energies, forces = predict(model, chunk, training=False)
        energy += float(((energies - chunk.energies).abs() / own).sum())
        force += float((forces - chunk.forces).abs().sum()) / 3
        n_atoms += int(own.sum())
    return 1e3 * HARTREE * (energy / len(part) + 0.1 * force / n_atoms)


def train(parts: dict[str, Part], settings: dict[str, Any]) -> tuple[ANI, dict[str, Any]]:
    """Train for some minutes of processor time; return the best model and what happened."""
    model = ani(SYMBOLS, networks=1)
    model.set_enabled("energy_shifter", False)
    optimizer = torch.optim.AdamW(
        model.neural_networks.parameters(), settings["learning_rate"], weight_decay=WEIGHT_DECAY
    )
    best: dict[str, Any] = {"score": math.inf}
    generator = torch.Generator().manual_seed(settings["seed"])
    started, order, steps, validated = cpu_seconds(), torch.empty(0, dtype=torch.int64), 0, 0
    progress = 0.0
    while progress < 1.0:
        if len(order) < settings["batch"]:
            order = torch.randperm(len(parts["train"]), generator=generator)
        rows, order = order[: settings["batch"]], order[settings["batch"] :]
        loss = loss_of(model, parts["train"][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        progress = (cpu_seconds() - started) / (60 * settings["minutes"])
        optimizer.param_groups[0]["lr"] = settings["learning_rate"] * falling(progress)
        if progress * VALIDATIONS >= validated + 1 or progress >= 1.0:
            validated = int(progress * VALIDATIONS)
            found = score(model, parts["validation"])
            if found < best["score"]:
                weights = {key: value.clone() for key, value in model.state_dict().items()}
                best = {"score": found, "step": steps, "weights": weights}
    model.load_state_dict(best.pop("weights"))
    return model, {**best, "steps": steps, "cpu_seconds": cpu_seconds() - started}


def falling(progress: float) -> float:
    """Return the cosine from one to nothing."""
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def main() -> None:
    """Train, predict the test geometries, write both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", type=json.loads)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(arguments.settings["seed"])
    parts, self_energies = read(arguments.data)
    model, about = train(parts, arguments.settings)
    found = [predict(model, chunk, training=False) for chunk in parts["test"].chunks()]
    energies = HARTREE * torch.cat([e for e, _ in found]).double().numpy() + self_energies
    forces = [
        f[chunk.species >= 0] for (_, f), chunk in zip(found, parts["test"].chunks(), strict=True)
    ]
    predicted = HARTREE * torch.cat(forces).double().numpy()
    np.savez(arguments.out / "test.npz", energies=energies, forces=predicted)
    parameters = sum(p.numel() for p in model.parameters())
    about |= {"parameters": parameters, "torch": torch.__version__}
    (arguments.out / "training.json").write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
