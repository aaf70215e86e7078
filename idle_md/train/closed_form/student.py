"""From a Gaussian process to an ordinary head: values and slopes over many geometries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idle_md.data import GeometryTensors
from idle_md.nn import Potential
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import Correction, element_counts

CHUNK = 128  # geometries
DISPLACEMENT = 0.02  # angstrom, standard deviation per coordinate
LEARNING_RATE = 2e-3
ENERGY_WEIGHT = 5.0  # of a squared energy per atom (eV^2) against a squared force (eV/angstrom)^2
RIDGE = 1e-9  # relative, of the last linear solution


@dataclass(frozen=True)
class _Sample:
    """Geometries displaced along a random direction, and back along it.

    ``features`` (2, N, F) and what the head should make of them, ``energies`` (2, N) in eV.
    """

    features: Tensor
    energies: Tensor
    graph_index: Tensor
    counts: Tensor

    def sums(self, atomic: Tensor) -> tuple[Tensor, Tensor]:
        """Return energy and slope of geometries from (2, N, ...), per square root of its size."""
        total = atomic.new_zeros(2, len(self.counts), *atomic.shape[2:])
        total = total.index_add(1, self.graph_index, atomic)
        root = self.counts.sum(1).to(atomic.dtype).sqrt()
        root = root.view(-1, *[1] * (atomic.dim() - 2))
        return total.mean(0) / root, (total[0] - total[1]) / (2 * DISPLACEMENT * root)


def distil(
    potential: Potential,
    fidelity: str,
    correction: Correction,
    tensors: GeometryTensors,
    indices: Indices,
    steps: int,
) -> float:
    """Train one head, on the frozen backbone, to give the known level plus a correction.

    Energies and slopes along random displacements of all atoms are matched, so forces are too.
    What the head cannot express per element goes to the reference energies.

    Parameters
    ----------
    potential, fidelity
        The model, and which head of its own hidden layer to train.
    correction
        What it should add to the level that the head starts from.
    tensors, indices
        Geometries to match, in float64; labels are not used.
    steps
        Steps of Adam.

    Returns
    -------
    float
        Mean square of what is left of the energies, eV^2 per atom.
    """
    generator = torch.Generator().manual_seed(0)
    order = torch.from_numpy(indices)[torch.randperm(len(indices), generator=generator)]
    samples = [
        _sample(potential, correction, tensors, chunk, generator) for chunk in order.split(CHUNK)
    ]
    parameters = [*potential.heads.output[fidelity].parameters()]
    if fidelity in potential.heads.hidden:
        parameters += [*potential.heads.hidden[fidelity].parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        sample = samples[step % len(samples)]
        atomic = _atomic(potential, fidelity, sample.features)
        energy, slope = sample.sums(atomic - sample.energies)
        loss = ENERGY_WEIGHT * energy.square().mean() + slope.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return _solve_linear_part(potential, fidelity, samples)


def _sample(
    potential: Potential,
    correction: Correction,
    tensors: GeometryTensors,
    chunk: Tensor,
    generator: torch.Generator,
) -> _Sample:
    batch = tensors.batch(chunk)
    moves = torch.randn(batch.positions.shape, generator=generator, dtype=torch.float64)
    centre, neighbor = batch.edge_index
    stretch = DISPLACEMENT * (moves[neighbor] - moves[centre])
    features, energies = [], []
    dtype = potential.dtype
    with torch.no_grad():
        for sign in (1.0, -1.0):
            vectors = batch.edge_vectors + sign * stretch
            known, added = correction.atomic(batch, vectors)
            energies.append((known + added).to(dtype))
            features.append(potential.backbone(batch.species, batch.edge_index, vectors.to(dtype)))
    counts = element_counts(batch, potential.backbone.elements)
    return _Sample(torch.stack(features), torch.stack(energies), batch.graph_index, counts)


def _atomic(potential: Potential, fidelity: str, features: Tensor) -> Tensor:
    layers = potential.heads.layer(features.flatten(0, 1), fidelity)
    energies: Tensor = potential.heads.output[fidelity](layers)
    return energies.view(features.shape[:2])


@torch.no_grad()
def _solve_linear_part(potential: Potential, fidelity: str, samples: Sequence[_Sample]) -> float:
    """Finish by least squares for what enters linearly; return what is left of the energies."""
    output = potential.heads.output[fidelity]
    assert isinstance(output, nn.Linear)
    n_elements = samples[0].counts.shape[1]
    size = output.in_features + n_elements
    normal, right = torch.zeros(size, size).double(), torch.zeros(size).double()
    equations = list(_equations(potential, fidelity, samples))
    for rows, missing in equations:
        normal += rows.T @ rows
        right += rows.T @ missing
    ridge = RIDGE * normal.diagonal().mean() * torch.eye(size).double()
    solution = torch.linalg.solve(normal + ridge, right)
    output.weight += solution[:-n_elements] / potential.heads.scale[fidelity]
    elements, column = potential.backbone.elements, potential.column(fidelity)
    potential.reference_energies[elements, column] += solution[-n_elements:]
    left = [
        (missing - rows @ solution)[: len(sample.counts)]
        for sample, (rows, missing) in zip(samples, equations, strict=True)
    ]
    return float(torch.cat(left).square().mean()) / ENERGY_WEIGHT


def _equations(
    potential: Potential, fidelity: str, samples: Sequence[_Sample]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows (2 G, D + n_elements) and right sides (2 G,): energies first, then slopes."""
    for sample in samples:
        flat = potential.heads.layer(sample.features.flatten(0, 1), fidelity)
        layers = flat.view(*sample.features.shape[:2], -1).double()
        known = _atomic(potential, fidelity, sample.features).double()
        energy, slope = sample.sums(layers)
        energy_left, slope_left = sample.sums(sample.energies.double() - known)
        counts = sample.counts / sample.counts.sum(1, keepdim=True).sqrt()
        weight = ENERGY_WEIGHT**0.5
        yield (
            torch.cat(
                [
                    torch.cat([weight * energy, weight * counts], dim=1),
                    torch.cat([slope, torch.zeros_like(counts)], dim=1),
                ]
            ),
            torch.cat([weight * energy_left, slope_left]),
        )
