"""How far the weights of a network move from one level of theory to another, by blocks.

The difference of two cheap levels at geometries that may be trained on is fitted in closed form,
with one variance for every block of F rows of a parameter, F being the width of the features.
Those of the highest evidence are printed, as standard deviations relative to the root mean square
of the block's weights: geometric means over draws of geometries, the largest of which is 1.
`PaiNN.expected_changes` says them.

    python benchmarks/expected_changes.py runs/gfn2/best.ckpt --level pm6
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from idle_md.data import GeometryTensors, load
from idle_md.nn import Potential, load_checkpoint
from idle_md.nn.parameter_groups import SMALLEST_WEIGHT, free_parameters
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import element_counts
from idle_md.train.closed_form.differences import SLOPE, Differences, observe
from idle_md.train.closed_form.gaussian_process import gram, most_probable
from idle_md.train.closed_form.tangent import Tangent

DATA = "chno-mini"


def differences(base: Potential, level: str, chosen: Indices) -> Differences:
    """Return differences of two cheap levels at some geometries."""
    part = load(DATA).select(np.sort(chosen))
    high, known, zeros = (
        part.labels_of(level),
        part.labels_of(base.fidelities[0]),
        np.zeros(len(chosen)),
    )
    forces = high.forces.astype(np.float64) - known.forces
    return Differences(part, high.energy - known.energy, forces, zeros, zeros)


def blocks(potential: Potential) -> tuple[dict[str, slice], Tensor]:
    """Return the columns of every block, and the root mean square of its weights."""
    names = {id(parameter): name for name, parameter in potential.named_parameters()}
    width, start, found, sizes = potential.backbone.out_features, 0, {}, []
    for parameter in free_parameters(potential):
        rows = parameter.shape[0] if parameter.dim() > 1 else 1
        count = rows // width if rows > width and rows % width == 0 else 1
        for number, block in enumerate(parameter.detach().double().chunk(count)):
            name = names[id(parameter)] + (f"[{number}]" if count > 1 else "")
            found[name] = slice(start, start + block.numel())
            start += block.numel()
            sizes.append(block.square().mean().sqrt())
    return found, torch.stack(sizes)


def changes(base: Potential, difference: Differences, rows: int) -> Tensor:
    """Return standard deviations of the changes of all blocks, relative to their weights."""
    tangent, observed = Tangent(base), observe(difference, rows, 0)
    tensors = GeometryTensors(difference.store, base.backbone.cutoff, [], torch.float64)
    features, means = [], []
    for one in observed:
        batch = tensors.batch([one.geometry])
        features.append(tangent.features(batch, one.displacements).float())
        means.append(torch.zeros(len(one), len(base.backbone.elements), dtype=torch.float64))
        means[-1][0] = element_counts(batch, base.backbone.elements)[0]
    matrix, (columns, sizes) = torch.cat(features), blocks(tangent.potential)
    kernels = torch.stack([gram(matrix[:, block].double()) for block in columns.values()])
    scales = kernels.diagonal(dim1=1, dim2=2).mean(1)
    targets = torch.cat([one.values for one in observed])
    slopes = torch.cat([one.kinds for one in observed]) == SLOPE
    nothing = torch.zeros(len(targets), dtype=torch.float64)
    normalised = kernels / scales[:, None, None]
    variances, _ = most_probable(normalised, torch.cat(means), targets, slopes, nothing)
    return (variances / scales).sqrt() / sizes.clamp(min=SMALLEST_WEIGHT)


def main() -> None:
    """Parse arguments, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="checkpoint of a cheap level")
    parser.add_argument("--level", default="pm6", help="another cheap level")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--geometries", type=int, default=100, help="of a draw")
    parser.add_argument("--rows", type=int, default=900, help="of a draw")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    potential, about = load_checkpoint(arguments.model)
    base, store = potential.alone(about["target"]), load(DATA)
    labelled = store.has_forces(arguments.level) & store.has_forces(base.fidelities[0])
    usable = np.flatnonzero(labelled & ~np.isin(store.role, ["test", "ood"]))
    order = np.random.default_rng(0).permutation(usable)
    draws = order[: arguments.draws * arguments.geometries].reshape(arguments.draws, -1)
    found = torch.stack(
        [changes(base, differences(base, arguments.level, each), arguments.rows) for each in draws]
    )
    means, spread = found.log().mean(0).exp(), found.log().std(0).exp()
    for name, mean, factor in zip(blocks(base)[0], means / means.max(), spread, strict=True):
        print(f"{name:40s} {mean:.3f}, within a factor of {factor:.1f}")


if __name__ == "__main__":
    main()
