"""Random batches of a store file that is larger than memory."""

from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from idle_md.data.batch import Batch
from idle_md.data.joining import join
from idle_md.data.store_file import StoreFile


class StreamedBatches(IterableDataset[Batch]):
    """Every geometry of a store file once an epoch, in random batches.

    Blocks of geometries that are neighbours in the file are read in random order; some blocks at a
    time are shuffled together and cut into batches. To be given to
    ``torch.utils.data.DataLoader(batches, batch_size=None, num_workers=n)``: every worker reads a
    share of the blocks. The batches follow from the arguments, the epoch and the number of workers.
    Every worker ends with a batch of what is left.

    Parameters
    ----------
    path
        File that ``Store.write`` or ``StoreWriter`` wrote.
    cutoff
        Cutoff of the neighbour lists in angstrom.
    fidelities
        Levels whose labels are taken, in this order.
    dtype
        Of positions and forces; energies are float64.
    size
        Geometries in a batch.
    indices
        Geometries to draw from, each taken once; all there are when not given.
    seed
        Seed of the order.
    block
        Geometries in a block.
    n_blocks
        Blocks that are shuffled together; a worker holds that many in memory.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    IndexError
        There is no such geometry.
    ValueError
        The file is truncated, is no store, or lacks one of the fidelities.
    """

    def __init__(
        self,
        path: str | Path,
        cutoff: float,
        fidelities: Sequence[str],
        dtype: torch.dtype = torch.float32,
        *,
        size: int,
        indices: NDArray[np.int64] | None = None,
        seed: int = 0,
        block: int = 1024,
        n_blocks: int = 16,
    ) -> None:
        self.path = Path(path)
        self.cutoff = cutoff
        self.fidelities = list(fidelities)
        self.dtype = dtype
        self.size = size
        self.seed = seed
        self.block = block
        self.n_blocks = n_blocks
        with StoreFile(path, fidelities) as file:
            everything = np.arange(file.n_geometries)
        self.indices = everything if indices is None else np.unique(everything[indices])
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass, also for workers that are already running."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        seed = (self.seed, int(self._epoch))
        blocks = np.split(self.indices, range(self.block, len(self.indices), self.block))
        order = np.random.default_rng(seed).permutation(len(blocks))[number::n_workers]
        generator = np.random.default_rng((*seed, number))
        with StoreFile(self.path, self.fidelities) as file:
            pool = file.read([])
            for start in range(0, len(order), self.n_blocks):
                chosen = [blocks[each] for each in order[start : start + self.n_blocks]]
                pool = join([pool, file.read(np.sort(np.concatenate(chosen)))])
                shuffled = generator.permutation(pool.n_geometries)
                is_last = start + self.n_blocks >= len(order)
                n_left = 0 if is_last else len(shuffled) % self.size
                used = len(shuffled) - n_left
                for first in range(0, used, self.size):
                    mine = pool.select(shuffled[first : min(first + self.size, used)])
                    yield Batch.of(mine, self.cutoff, self.fidelities, self.dtype)
                pool = pool.select(shuffled[used:])


def _sent(batch: Batch) -> tuple[Callable[..., Batch], tuple[dict[str, Any]]]:
    """A batch on its way to another process: as few bytes as hold it.

    Torch would send its tensors as shared files, each over a connection of its own between the
    processes, which takes longer than making the batch.
    """
    values = {k: v.numpy() if isinstance(v, Tensor) else v for k, v in vars(batch).items()}
    values["edge_index"] = values["edge_index"].astype(np.int32)
    if not values["shifts"].any():
        del values["shifts"]
    return _received, (values,)


def _received(values: dict[str, Any]) -> Batch:
    arrays = {k: torch.from_numpy(v) for k, v in values.items() if isinstance(v, np.ndarray)}
    edge_index = arrays["edge_index"].long()
    shifts = arrays["positions"].new_zeros(edge_index.shape[1], 3)
    return Batch(**{"shifts": shifts} | values | arrays | {"edge_index": edge_index})


ForkingPickler.register(Batch, _sent)
