"""Reference energies: exact where the data decide, minimum norm where they do not."""

import numpy as np
import pytest

from idle_md.data import fit_reference_energies, load

TRUE = np.array([-16.3, -1036.4, -1489.5, -2046.4])


def test_exact_energies_are_recovered() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (40, 4)).astype(float)
    np.testing.assert_allclose(fit_reference_energies(counts, counts @ TRUE), TRUE, rtol=1e-12)


def test_missing_labels_do_not_count() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (40, 4)).astype(float)
    energies = np.where(np.arange(40) < 20, counts @ TRUE, np.nan)
    np.testing.assert_allclose(fit_reference_energies(counts, energies), TRUE, rtol=1e-12)


def test_residual_is_orthogonal_to_the_composition() -> None:
    store = load("chno-mini")
    counts, energies = store.element_counts([1, 6, 7, 8]), store.labels["gfn2"].energy
    residual = energies - counts @ fit_reference_energies(counts, energies)
    assert np.abs(counts.T @ residual).max() < 1e-6 * np.abs(energies).max()
    assert np.abs(residual).mean() < 1.0  # chemistry, against total energies of hundreds of eV


def test_one_composition_gives_the_solution_of_least_norm() -> None:
    counts = np.tile([6.0, 2.0, 0.0, 1.0], (10, 1))
    result = fit_reference_energies(counts, np.full(10, -4200.0))
    np.testing.assert_allclose(result, -4200.0 * counts[0] / (counts[0] @ counts[0]), rtol=1e-12)


def test_forces_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="no energy labels to fit reference energies to"):
        fit_reference_energies(np.ones((3, 2)), np.full(3, np.nan))
