"""Any system in any engine: boxes of any shape, orders, images, parts, precisions and backends."""

import ase
import numpy as np
import openmm
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import idle_md
from idle_md.cells import in_standard_form
from idle_md.deploy import load
from idle_md.engines.engine import Absent
from idle_md.engines.lammps.engine import LammpsEngine
from idle_md.engines.openmm import create_force
from idle_md.engines.registry import engines
from idle_md.engines.results import LeftOut, Prediction, PredictionError
from idle_md.testing import Subject, assert_close
from idle_md.units import KJ_PER_MOL, NM
from tests.engines.systems import ELEMENTS, examples, expected, structures

ENGINES = [each for each in engines() if not isinstance(each, Absent)]
ALL_OR_NONE = st.sampled_from([(True, True, True), (False, False, False)])


def counts(few: int, many: int):
    """Run a test with few examples, and as a slow one with many."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def reference(model_file):
    return load(model_file(), kernels="portable")


def subject(dtype: torch.dtype = torch.float64) -> Subject:
    return Subject(lambda _: [], ELEMENTS, 4.0, dtype=dtype)


def check(found: Prediction, atoms: ase.Atoms, reference, dtype=torch.float64) -> None:
    wanted = expected(reference, atoms)
    offset = sum(reference.metadata.reference_energies_ev[int(z)] for z in atoms.numbers)
    pair = [Prediction(each.energy - offset, each.forces) for each in (found, wanted)]
    assert_close(subject(dtype), *pair)
    if found.stress is not None and wanted.stress is not None:
        size = atoms.cell.volume / len(atoms)
        scale = max(1.0, np.abs(wanted.stress * size).max())
        tolerance = 1e-8 if dtype == torch.float64 else 1e-4
        assert np.abs(found.stress - wanted.stress).max() * size <= tolerance * scale


@counts(12, 1500)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_every_engine(engine, count, reference, model_file) -> None:
    """One evaluator for all examples: nothing of one system is left in the next."""
    if engine.why_not(reference) is not None:
        pytest.skip(engine.why_not(reference))
    if isinstance(engine, LammpsEngine):
        count = max(1, count // 4)
    evaluate = engine.evaluator(model_file())

    @examples(count)
    @given(st.lists(structures(), min_size=1, max_size=3))
    def run(systems) -> None:
        for atoms, found in zip(systems, evaluate(systems), strict=True):
            if not isinstance(found, LeftOut):
                check(found, atoms, reference)

    run()


@counts(30, 5000)
@pytest.mark.parametrize("kernels", ["native", "portable"])
def test_a_calculator_in_single_precision(kernels, count, reference, model_file) -> None:
    calculator = idle_md.Calculator(model_file(), dtype=torch.float32, kernels=kernels)

    @examples(count)
    @given(structures(max_atoms=5))
    def run(atoms) -> None:
        calculator.calculate(atoms)
        results = calculator.results
        found = Prediction(results["energy"], results["forces"], stress=results.get("stress"))
        wanted = expected(reference, atoms)
        scale = max(1.0, np.abs(wanted.forces).max(), np.abs(wanted.energies).max() / 100)
        assert abs(found.energy - wanted.energy) <= 1e-4 * scale * len(atoms)
        np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-4 * scale, rtol=0)

    run()


@counts(12, 1000)
@pytest.mark.parametrize("neighbors", ["native", "vesin", "torch"])
def test_parts_of_systems_in_openmm(neighbors, count, reference, model_file, backend) -> None:
    """Atoms of the model in any order, between particles that feel nothing, in any image."""
    kernels = "native" if neighbors == "native" else "portable"
    model = load(model_file(), kernels=kernels)
    platform = openmm.Platform.getPlatformByName("Reference")
    open_alone = st.just((False, False, False)) if neighbors == "torch" else ALL_OR_NONE

    @examples(count)
    @given(structures(open_alone), st.integers(0, 3), st.integers(0, 2**16))
    def run(atoms, others, seed) -> None:
        rng = np.random.default_rng(seed)
        placed, rotation = in_standard_form(atoms)
        periodic, total = bool(atoms.pbc.all()), len(atoms) + others
        chosen = rng.permutation(total)[: len(atoms)].tolist()
        numbers, positions = np.full(total, 18), rng.normal(0.0, 5.0, (total, 3))
        numbers[chosen], positions[chosen] = placed.numbers, placed.positions
        system = openmm.System()
        for _ in range(total):
            system.addParticle(1.0)
        options = {"backend": backend, "periodic": periodic, "neighbors": neighbors}
        system.addForce(create_force(model, numbers.tolist(), chosen, **options))
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        if periodic:
            context.setPeriodicBoxVectors(*(placed.cell.array / NM))
        context.setPositions(positions / NM)
        state = context.getState(energy=True, forces=True)
        forces = np.array(state.getForces(asNumpy=True)._value) * KJ_PER_MOL / NM
        energy = state.getPotentialEnergy()._value * KJ_PER_MOL
        check(Prediction(energy, forces[chosen] @ rotation), atoms, reference)
        assert not np.delete(forces, chosen, axis=0).any()

    run()


@counts(30, 5000)
def test_batches(count, reference, model_file) -> None:
    """However structures share calls, and whichever of them cannot be evaluated."""
    model = load(model_file())

    @examples(count)
    @given(
        st.lists(st.one_of(structures(), st.just(ase.Atoms("Ar"))), min_size=1, max_size=5),
        st.integers(1, 400),
    )
    def run(systems, most) -> None:
        try:
            results = idle_md.predict(model, systems, edges_per_call=most)
        except PredictionError as error:
            results = error.results
        for atoms, found in zip(systems, results, strict=True):
            assert isinstance(found, Prediction) == (18 not in atoms.numbers)
            if isinstance(found, Prediction):
                check(found, atoms, reference)

    run()
