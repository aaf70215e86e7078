"""Engines whose steps are replayed as CUDA graphs and whose lists get room, with stand-ins."""

from types import SimpleNamespace

import ase.build
import numpy as np
import openmm
import pytest
import torch

import idle_md
from idle_md import deploy
from idle_md.deploy import DeployedModel
from idle_md.deploy.replay import WARM_UP, Replayed
from idle_md.deploy.torchscript import freeze
from idle_md.engines import predict as batches
from idle_md.engines.edges.all_pairs import pairs_of
from idle_md.engines.edges.room import MOST, NO_ROOM, ROOM, explained, with_room
from idle_md.engines.openmm import PythonComputation, create_force
from idle_md.engines.openmm.dynamics import _check_device
from idle_md.engines.openmm.module import Attachment
from tests.recorded import Recording, Stream, take_the_place_of_graphs

ETHANOL = ase.build.molecule("CH3CH2OH")


@pytest.fixture
def recordings(monkeypatch) -> type[Recording]:
    return take_the_place_of_graphs(monkeypatch)


@pytest.fixture
def replayable(monkeypatch) -> None:
    """Every model can be replayed."""
    monkeypatch.setattr(DeployedModel, "can_be_replayed", True)


@pytest.fixture
def model(model_file) -> DeployedModel:
    return deploy.load(model_file(), kernels="portable")


def moved(step: int) -> ase.Atoms:
    atoms = ETHANOL.copy()
    atoms.rattle(0.05, seed=step)
    return atoms


class PairNeighbors:
    """All pairs, as a list on a GPU gives them: by operations on tensors alone.

    While it is crowded its vectors are not numbers; when there is room, its memory is elsewhere.
    """

    def __init__(self, crowded: int = 0) -> None:
        self.state = torch.ones(1, dtype=torch.float64)
        self.crowd(crowded)

    def crowd(self, times: int) -> None:
        self.crowded = times
        self.state.fill_(torch.nan if times else 1.0)

    def inputs(self, atoms):
        return (torch.from_numpy(atoms.positions),)

    def edges(self, positions):
        pairs = pairs_of([len(positions)])
        vectors = positions[pairs[1]] - positions[pairs[0]]
        return pairs, vectors * self.state

    def problem(self) -> int:
        return NO_ROOM if self.crowded else 0

    def make_room(self) -> None:
        self.state = torch.ones(1, dtype=torch.float64)
        self.crowd(self.crowded - 1)


def test_calculator(model, recordings, replayable, monkeypatch) -> None:
    calculator = idle_md.Calculator(model)
    calculator.neighbors = PairNeighbors()
    found = []
    for step in range(WARM_UP + 3):
        calculator.calculate(moved(step))
        found.append(calculator.results)
    assert [each.replays for each in recordings.made] == [3]
    monkeypatch.setattr(DeployedModel, "can_be_replayed", False)
    plain = idle_md.Calculator(model)
    for step, results in enumerate(found):
        plain.calculate(moved(step))
        assert results["energy"] == pytest.approx(plain.results["energy"], abs=1e-9)
        for name in ("energies", "forces"):
            np.testing.assert_allclose(results[name], plain.results[name], rtol=0, atol=1e-9)


def test_calculator_makes_room(model, recordings, replayable) -> None:
    calculator = idle_md.Calculator(model)
    calculator.neighbors = PairNeighbors(crowded=2)
    for step in range(WARM_UP + 2):
        calculator.calculate(moved(step))
        assert np.isfinite(calculator.results["energy"])
    assert len(recordings.made) == 1
    calculator.neighbors.crowd(1)  # a graph is dropped with the memory of its list
    for step in range(WARM_UP + 2):
        calculator.calculate(moved(step))
        assert np.isfinite(calculator.results["energy"])
    assert len(recordings.made) == 2
    calculator.neighbors.crowd(MOST + 1)
    with pytest.raises(ValueError, match="the energy is not a number: an atom has more neighbours"):
        calculator.calculate(moved(0))


def test_python_force(model, recordings) -> None:
    numbers = ETHANOL.numbers.tolist()
    attachment = Attachment(numbers, list(range(9)), periodic=False, neighbors="torch")
    module = attachment.script(model)
    replayed = PythonComputation(module, model.device, can_be_replayed=True)
    plain = PythonComputation(module, model.device)
    for step in range(WARM_UP + 3):
        positions = moved(step).positions / 10.0
        energy, forces = replayed(State(positions))
        expected, expected_forces = plain(State(positions))
        assert energy == pytest.approx(expected, abs=1e-7)
        np.testing.assert_allclose(forces, expected_forces, rtol=0, atol=1e-6)
    assert [each.replays for each in recordings.made] == [3]


class State:
    """What a computation reads of OpenMM's."""

    def __init__(self, positions) -> None:
        self.positions = positions * openmm.unit.nanometer

    def getPositions(self, asNumpy):  # noqa: N802
        return self.positions


def test_python_force_names_the_problem(model, recordings) -> None:
    attachment = Attachment(ETHANOL.numbers.tolist(), list(range(9)), False, "torch")
    computation = PythonComputation(attachment.script(model), model.device, True)

    class Module:
        problems = (NO_ROOM, 0)

        def forward(self, positions):
            energy = 1.0 if self.problem() == 0 else torch.nan
            return torch.tensor(energy, dtype=torch.float64), torch.zeros_like(positions)

        def problem(self) -> int:
            return self.problems[0]

        def make_room(self) -> None:
            self.problems = self.problems[1:] or self.problems

    computation.module = Module()
    assert computation(State(ETHANOL.positions))[0] == 1.0
    computation.module.problems = (2,)
    with pytest.raises(ValueError, match="the position of an atom is not a number, or it has"):
        computation(State(ETHANOL.positions))
    assert "module" not in computation.__getstate__()
    assert "step" not in computation.__getstate__()


def test_computations_of_before_are_not_replayed(model) -> None:
    attachment = Attachment(ETHANOL.numbers.tolist(), list(range(9)), False)
    state = PythonComputation(attachment.script(model), model.device).__getstate__()
    del state["can_be_replayed"]
    old = PythonComputation.__new__(PythonComputation)
    vars(old).update(state)
    assert np.isfinite(old(State(ETHANOL.positions / 10.0))[0])


def test_callers_on_other_streams_wait(recordings, monkeypatch) -> None:
    """The memory of a graph, and of a list of neighbours, is written to again by the next call."""
    first, second = streams = [Stream(), Stream()]
    step = Replayed(lambda x: (2.0 * x,), torch.device("cpu"))
    for number in (0, 0, 1, 1, 0):
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device, n=number: streams[n])
        step(torch.ones(1))
    assert (first.waits, second.waits) == ([second], [first])


class GraphsOfTorchForce:
    """How openmmtorch 1.5 replays a module on OpenMM's platform CUDA.

    A graph of evaluations with forces and one of those without; what is read is what the one that
    was recorded last gives.
    """

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self.module = freeze(module)
        self.positions = torch.empty((len(ETHANOL), 3), dtype=torch.float32)
        self.graphs: dict[bool, Recording] = {}

    def evaluate(self, positions, with_forces: bool) -> tuple[float, np.ndarray]:
        self.positions.copy_(torch.from_numpy(positions))
        if with_forces not in self.graphs:
            self.module(self.positions)
            graph = self.graphs[with_forces] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.energy, self.forces = self.module(self.positions)
        self.graphs[with_forces].replay()
        return float(self.energy), self.forces.numpy().copy()


def test_torch_force_reads_the_graph_that_was_replayed(model, replayable, recordings) -> None:
    """An integrator may ask for an energy alone between its steps."""
    numbers = ETHANOL.numbers.tolist()
    attachment = Attachment(numbers, list(range(9)), periodic=False, neighbors="torch")
    plain = attachment.script(model)
    force = GraphsOfTorchForce(attachment.script(model, in_one_place=True))
    for step, with_forces in enumerate((True, False, True, True, False)):
        positions = moved(step).positions / 10.0
        energy, forces = force.evaluate(positions, with_forces)
        expected, expected_forces = plain(torch.from_numpy(positions).float())
        assert energy == pytest.approx(float(expected), abs=1e-5)
        np.testing.assert_allclose(forces, expected_forces, rtol=0, atol=1e-3)


def test_results_of_a_torch_force_in_double_precision_stay_double(model) -> None:
    attachment = Attachment(ETHANOL.numbers.tolist(), list(range(9)), False, "torch")
    module = attachment.script(model, in_one_place=True)
    for dtype in (torch.float32, torch.float64):
        first = module(torch.from_numpy(moved(0).positions / 10.0).to(dtype))
        second = module(torch.from_numpy(moved(1).positions / 10.0).to(dtype))
        assert [each.dtype for each in first] == [torch.float64, dtype]
        assert [a.data_ptr() for a in first] == [b.data_ptr() for b in second]


@pytest.mark.parametrize(
    ("neighbors", "asked"), [("auto", "true"), ("torch", "true"), ("vesin", "false")]
)
def test_torch_force_asks_for_graphs(model, replayable, no_torchforce, neighbors, asked) -> None:
    if no_torchforce:
        pytest.skip(no_torchforce)
    options = {"backend": "torchforce", "neighbors": neighbors}
    force = create_force(model, ETHANOL.numbers.tolist(), **options)
    assert force.getProperties()["useCUDAGraphs"] == asked


def test_torch_force_on_the_processor_asks_for_none(model, no_torchforce) -> None:
    if no_torchforce:
        pytest.skip(no_torchforce)
    force = create_force(model, ETHANOL.numbers.tolist(), backend="torchforce")
    assert force.getProperties()["useCUDAGraphs"] == "false"


def test_torch_force_needs_a_platform_of_its_device(model, no_torchforce) -> None:
    if no_torchforce:
        pytest.skip(no_torchforce)
    force = create_force(model, ETHANOL.numbers.tolist(), backend="torchforce")
    setup = SimpleNamespace(deployed=model, force=force)
    _check_device("CPU", setup)
    with pytest.raises(ValueError, match="platform CUDA has no positions for a model on cpu"):
        _check_device("CUDA", setup)
    with pytest.raises(ValueError, match="ends the process on platform OpenCL"):
        _check_device("OpenCL", setup)
    force = create_force(model, ETHANOL.numbers.tolist(), backend="pythonforce")
    _check_device("OpenCL", SimpleNamespace(deployed=model, force=force))


def test_batches_of_molecules_are_replayed(model, recordings, replayable, monkeypatch) -> None:
    frames = [moved(step) for step in range(4 * (WARM_UP + 2) + 1)]
    expected = idle_md.predict(model, frames)
    monkeypatch.setattr(batches, "takes_all_pairs", lambda model, n_atoms, periodic: not periodic)
    found = idle_md.predict(model, frames, edges_per_call=4 * 9 * 8)
    assert [each.replays for each in recordings.made] == [2]
    for one, other in zip(found, expected, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-9)
        np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.energies, other.energies, rtol=0, atol=1e-9)
    idle_md.predict(model, frames[:4], edges_per_call=4 * 9 * 8)
    assert recordings.made[0].replays == 2  # the last batch was of another size


def test_batches_of_both_kinds_keep_their_order(model, monkeypatch) -> None:
    box = ETHANOL.copy()
    box.center(3.0)
    box.pbc = True
    frames = [moved(0), box, moved(1), moved(2)]
    expected = idle_md.predict(model, frames)
    monkeypatch.setattr(batches, "takes_all_pairs", lambda model, n_atoms, periodic: not periodic)
    for one, other in zip(idle_md.predict(model, frames), expected, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-9)
        assert (one.stress is None) == (other.stress is None)


@pytest.mark.parametrize("sizes", [[], [0], [1], [2], [3, 1, 4]])
def test_pairs_of_systems(sizes) -> None:
    found = pairs_of(sizes)
    of = [k for k, size in enumerate(sizes) for _ in range(size)]
    n = len(of)
    expected = [(i, j) for i in range(n) for j in range(n) if i != j and of[i] == of[j]]
    assert found.shape == (2, len(expected))
    assert list(map(tuple, found.T.tolist())) == expected


class TestRoom:
    def test_is_made_as_long_as_it_helps(self) -> None:
        problems = [NO_ROOM, NO_ROOM]
        found = with_room(
            lambda: 0.0 if problems else 1.0,
            lambda number: number > 0.0,
            lambda: problems[0],
            problems.pop,
        )
        assert (found, problems) == (1.0, [])

    @pytest.mark.parametrize(
        ("problem", "reason"), [(1, "box spans no volume"), (2, "position"), (3, "position")]
    )
    def test_does_not_help_against_other_problems(self, problem, reason) -> None:
        def never() -> None:
            raise AssertionError

        with pytest.raises(ValueError, match=reason):
            with_room(lambda: 0.0, lambda _: False, lambda: problem, never)

    def test_has_an_end(self) -> None:
        made = []
        with pytest.raises(ValueError, match="more neighbours than the list on the GPU"):
            with_room(lambda: 0.0, lambda _: False, lambda: NO_ROOM, lambda: made.append(1))
        assert len(made) == MOST

    def test_numbers_ask_for_nothing_and_no_problem_is_no_error(self) -> None:
        def never() -> int:
            raise AssertionError

        assert with_room(lambda: 1.0, lambda _: True, never, never) == 1.0
        assert with_room(lambda: 0.0, lambda _: False, lambda: 0, never) == 0.0

    def test_words(self) -> None:
        assert explained(0) == ""
        assert explained(NO_ROOM) == ROOM
