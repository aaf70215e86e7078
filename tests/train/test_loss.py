from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import huber_loss

from idle_md.data import Batch
from idle_md.nn import Potential
from idle_md.train import parse_config
from idle_md.train.loss import ENERGY_DELTA, FORCE_DELTA, Objective, Weights
from idle_md.train.prediction import predict
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import Task, build_task


@pytest.fixture
def task(settings: dict[str, Any]) -> Task:
    return build_task(parse_config(settings))


@pytest.fixture
def potential(task: Task) -> Potential:
    potential = untrained_potential(task)
    output = potential.heads.output["wb97x"]
    torch.nn.init.normal_(output.weight, std=0.3)  # a correction that is not zero
    return potential


@pytest.fixture
def batch(task: Task) -> Batch:
    return task.tensors.batch(task.stream[0])


def test_loss_equals_a_loop_over_labels(task: Task, potential: Potential, batch: Batch) -> None:
    prediction = predict(potential, batch, [0])
    reference = potential.reference_energies
    parts = {0: [], 1: []}
    for g in range(batch.n_graphs):
        atoms = batch.graph_index == g
        labels = batch.energies[g] - reference[batch.species[atoms]].sum(0)
        error = (prediction.energies[g] - labels).float() / atoms.sum().sqrt()
        parts[0].append(error[0])
        if not torch.isnan(error[1]):
            parts[1].append(error[1] - error[0])  # paired: both levels are labelled here
    forces = huber_loss(prediction.forces[0], batch.forces[:, 0], delta=FORCE_DELTA) / FORCE_DELTA
    expected = [
        huber_loss(torch.stack(e), torch.zeros(len(e)), delta=ENERGY_DELTA) / ENERGY_DELTA
        for e in parts.values()
    ]
    assert len(parts[1]) == task.stream.n_target < batch.n_graphs
    loss, by_column = task.objective(potential, batch)
    assert by_column[0].item() == pytest.approx((expected[0] + forces).item(), rel=1e-4)
    assert by_column[1].item() == pytest.approx(expected[1].item(), rel=1e-4)
    assert loss.item() == pytest.approx(sum(p.item() for p in by_column.values()), rel=1e-6)


def test_missing_labels_leave_gradients_finite_and_untouched(
    task: Task, potential: Potential, batch: Batch
) -> None:
    batch.energies[:, 1] = torch.nan
    loss, parts = task.objective(potential, batch)
    assert parts[1].item() == 0.0
    loss.backward()
    for name, parameter in potential.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name
    assert potential.heads.output["wb97x"].weight.grad.abs().max() == 0


def test_no_label_at_all_costs_nothing(task: Task, potential: Potential, batch: Batch) -> None:
    batch.energies[:] = torch.nan
    batch.forces[:] = torch.nan
    loss, _ = task.objective(potential, batch)
    assert loss.item() == 0.0


def test_unpaired_loss_uses_the_target_itself(
    task: Task, potential: Potential, batch: Batch
) -> None:
    plain = Objective(task.objective.weights, paired={})
    _, paired_parts = task.objective(potential, batch)
    _, parts = plain(potential, batch)
    assert parts[0].item() == pytest.approx(paired_parts[0].item())
    assert parts[1].item() != pytest.approx(paired_parts[1].item(), rel=1e-3)
    batch.energies[:, 0] = torch.nan  # nothing to pair with: both are the same
    assert task.objective(potential, batch)[1][1].item() == pytest.approx(parts[1].item())


def test_forces_are_the_energy_gradient(task: Task, potential: Potential, batch: Batch) -> None:
    potential = potential.to_precision(torch.float64)
    batch = batch.to("cpu", torch.float64)
    forces = predict(potential, batch, [0, 1]).forces
    step = 1e-4
    for atom, axis in ((0, 0), (7, 2)):
        energies = []
        for sign in (1, -1):
            moved = batch.to("cpu", torch.float64)
            moved.positions = batch.positions.clone()
            moved.positions[atom, axis] += sign * step
            energies.append(predict(potential, moved, []).energies.sum(0).detach())
        numerical = -(energies[0] - energies[1]) / (2 * step)
        for column in (0, 1):
            assert abs(forces[column][atom, axis] - numerical[column]) < 1e-6


def test_energy_only_batches_need_no_force_graph(task: Task, batch: Batch) -> None:
    batch.forces[:] = torch.nan
    assert task.objective.force_columns(batch) == []
    weightless = Objective(dict.fromkeys((0, 1), Weights(1.0, 0.0)), {})
    assert weightless.force_columns(task.tensors.batch(np.arange(3))) == []
