"""Train SchNetPack's PaiNN on energies and forces, its documented way, and time the steps.

Runs in an environment of its own, see ``schnetpack.txt``; started by ``benchmarks/training.py``.
The parts and their order are those of SchNetPack's force tutorial and of its MD17 configuration,
with the cached neighbour list. Averaging of weights, validation and logging are left out.
"""

import argparse
import importlib.metadata
import json
import time
import warnings
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytorch_lightning as lightning
import torch
import torch.utils.data.dataloader as loader
from peers.rounds import Rounds

loader.T_co = Any  # SchNetPack 2.1.1 imports this annotation, which torch 2.13 has renamed

import schnetpack as spk  # noqa: E402
import schnetpack.transform as transforms  # noqa: E402
from schnetpack.data import ASEAtomsData, AtomsDataModule  # noqa: E402

ENERGY, FORCES = "energy", "forces"


def write_database(geometries: Path, folder: Path) -> Path:
    """Write geometries to SchNetPack's database, unless it is there, and return its place."""
    database = folder / "data.db"
    if database.is_file():
        return database
    arrays = np.load(geometries)
    units = {ENERGY: "eV", FORCES: "eV/Ang"}
    partial = folder / "partial.db"
    partial.unlink(missing_ok=True)
    dataset = ASEAtomsData.create(str(partial), distance_unit="Ang", property_unit_dict=units)
    atoms, labels = [], []
    bounds = zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)
    for energy, (first, last) in zip(arrays["energies"], bounds, strict=True):
        atoms.append(ase.Atoms(arrays["numbers"][first:last], arrays["positions"][first:last]))
        labels.append({ENERGY: np.array([energy]), FORCES: arrays["forces"][first:last]})
    dataset.add_systems(property_list=labels, atoms_list=atoms)
    partial.rename(database)
    return database


def data_module(database: Path, settings: dict[str, Any]) -> AtomsDataModule:
    """Return the data, all for training but one, with every neighbour list in the cache."""
    folder = database.parent
    neighbors = transforms.CachedNeighborList(
        str(folder / f"neighbors-{settings['cutoff']}"),
        transforms.MatScipyNeighborList(cutoff=settings["cutoff"]),
        keep_cache=True,
    )
    n_geometries = len(ASEAtomsData(str(database)))
    data = AtomsDataModule(
        str(database),
        batch_size=settings["batch"],
        num_train=n_geometries - 1,
        num_val=1,
        split_file=str(folder / "split.npz"),
        transforms=[
            transforms.SubtractCenterOfMass(),
            transforms.RemoveOffsets(ENERGY, remove_mean=True, remove_atomrefs=False),
            neighbors,
            transforms.CastTo32(),
        ],
        num_workers=settings["workers"],
    )
    data.prepare_data()
    data.setup()
    for number in range(len(data.train_dataset)):
        data.train_dataset[number]
    return data


def training_task(settings: dict[str, Any]) -> spk.task.AtomisticTask:
    """Return the potential with its losses."""
    cutoff, features = settings["cutoff"], settings["features"]
    potential = spk.model.NeuralNetworkPotential(
        representation=spk.representation.PaiNN(
            n_atom_basis=features,
            n_interactions=settings["interactions"],
            radial_basis=spk.nn.GaussianRBF(n_rbf=settings["n_radial"], cutoff=cutoff),
            cutoff_fn=spk.nn.CosineCutoff(cutoff),
        ),
        input_modules=[spk.atomistic.PairwiseDistances()],
        output_modules=[
            spk.atomistic.Atomwise(n_in=features, output_key=ENERGY),
            spk.atomistic.Forces(energy_key=ENERGY, force_key=FORCES),
        ],
        postprocessors=[transforms.CastTo64(), transforms.AddOffsets(ENERGY, add_mean=True)],
    )
    outputs = [
        spk.task.ModelOutput(name=name, loss_fn=torch.nn.MSELoss(), loss_weight=weight, metrics={})
        for name, weight in ((ENERGY, 0.01), (FORCES, 0.99))
    ]
    return spk.task.AtomisticTask(
        potential, outputs, optimizer_cls=torch.optim.AdamW, optimizer_args={"lr": 1e-4}
    )


class Timer(lightning.Callback):
    """Ticks after every step, and counts the time until the next one can start as waiting."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds
        self.ended = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        self.rounds.waited += time.perf_counter() - self.ended

    def on_train_batch_end(self, *_: Any) -> None:
        self.rounds.tick()
        self.ended = time.perf_counter()


def main() -> None:
    """Train until the parent has seen enough."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometries", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", type=json.loads)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.settings["threads"])
    torch.manual_seed(0)
    task = training_task(arguments.settings)
    parameters = sum(p.numel() for p in task.parameters() if p.requires_grad)
    packages = ("schnetpack", "torch", "pytorch-lightning", "numpy")
    versions = {package: importlib.metadata.version(package) for package in packages}
    rounds = Rounds({"versions": versions, "parameters": parameters})
    data = data_module(write_database(arguments.geometries, arguments.folder), arguments.settings)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        callbacks=[Timer(rounds)],
        logger=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(task, datamodule=data)


if __name__ == "__main__":
    main()
