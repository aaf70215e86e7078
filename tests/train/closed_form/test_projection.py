"""Random projections."""

import pytest
import torch

from idle_md.train.closed_form.projection import Projection


def vectors(n: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("columns", [1000, 1024, 1025])
def test_transposed(columns: int) -> None:
    projection, rows = Projection(columns, 200), vectors(4, columns)
    weights = vectors(1, 200)[0]
    expected = projection(rows) @ weights
    torch.testing.assert_close(rows @ projection.transposed(weights), expected)


def test_inner_products_are_kept() -> None:
    rows = vectors(40, 20_000)
    rows[20:] = rows[:20] + 0.01 * vectors(40, 20_000)[20:]  # near ones too
    short = Projection(rows.shape[1], 4000)(rows)
    for left, right in ((rows, short), (rows[20:] - rows[:20], short[20:] - short[:20])):
        sizes, found = left.square().sum(1), right.square().sum(1)
        torch.testing.assert_close(found, sizes, rtol=0.1, atol=0)


def test_seed_decides() -> None:
    rows = vectors(3, 500)
    assert torch.equal(Projection(500, 100, 1)(rows), Projection(500, 100, 1)(rows))
    assert not torch.equal(Projection(500, 100, 1)(rows), Projection(500, 100, 2)(rows))


def test_many_rows_are_the_same_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    projection, rows = Projection(1000, 200), vectors(30, 1000)
    whole = projection(rows)
    monkeypatch.setattr("idle_md.train.closed_form.projection.MOST_AT_ONCE", 3000)
    torch.testing.assert_close(projection(rows), whole)
