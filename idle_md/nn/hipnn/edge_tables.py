"""Edges as a table with a row per atom, so that sums over edges are matrix products."""

import torch
from torch import Tensor


def grouped(index: Tensor, n_groups: int, is_sorted: bool) -> tuple[Tensor, int]:
    """Return the place (E,) of every edge in a table (``n_groups``, width), and that width.

    Parameters
    ----------
    index
        Row of every edge (E,), such as its centre.
    n_groups
        Number of rows, those without an edge included.
    is_sorted
        Whether ``index`` ascends.
    """
    counts = torch.bincount(index, minlength=n_groups)
    width = int(counts.max()) if len(index) > 0 else 0
    first = counts.cumsum(0) - counts
    order = torch.arange(len(index), device=index.device)
    if is_sorted:
        return order - first.index_select(0, index) + index * width, width
    by_row = index.argsort()
    row = index.index_select(0, by_row)
    place = torch.empty_like(index)
    place.index_copy_(0, by_row, order - first.index_select(0, row) + row * width)
    return place, width


def spread(values: Tensor, place: Tensor, n_groups: int, width: int) -> Tensor:
    """Return values (E, K) in their places of a table (``n_groups``, width, K), zero elsewhere."""
    table = torch.zeros(
        (n_groups * width, values.shape[1]), dtype=values.dtype, device=values.device
    )
    return table.index_copy_(0, place, values).view(n_groups, width, values.shape[1])


def gathered(table: Tensor, place: Tensor) -> Tensor:
    """Return the values (E, K) at places of a table (groups, width, K)."""
    return table.flatten(0, 1).index_select(0, place)
