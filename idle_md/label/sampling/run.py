"""Geometries of many molecules, sampled side by side; resumable."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from idle_md.data import Manifest, Store, join
from idle_md.label.cluster import work_through, workers
from idle_md.label.levels import find_level
from idle_md.label.sampling.config import SampleConfig
from idle_md.label.sampling.molecule import Molecule
from idle_md.label.sampling.recipe import sample_molecule

Progress = Callable[[int, int], None]


def sample(
    molecules: Sequence[Molecule],
    config: SampleConfig,
    out: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> tuple[Store, dict[str, str]]:
    """Sample molecules and write a store without labels.

    Finished molecules are kept beside it in ``<out>.parts`` until all are; so what is interrupted
    goes on when called again. The result does not depend on the number of processes.

    Parameters
    ----------
    molecules
        What to sample.
    config
        How, and how many of each.
    out
        Store to write (``.h5``).
    jobs, scheduler
        Processes here, or a running Dask scheduler, whose workers must see the store's folder.
    progress
        Called with the numbers of finished molecules and of all.

    Returns
    -------
    tuple
        What was written, and why a molecule could not be sampled, by name.

    Raises
    ------
    ValueError
        If there is no molecule, or none can be sampled.
    """
    if not molecules:
        raise ValueError("nothing to sample: give SMILES or a structure file")
    find_level(config.level)
    folder = out.with_name(f"{out.name}.parts")
    tasks = []
    for molecule, partner in zip(molecules, [*molecules[1:], molecules[0]], strict=True):
        tasks.append((molecule, partner, config, str(folder / _part(molecule, partner, config))))
    waiting = [task for task in tasks if not Path(task[3]).exists()]
    failures = {}
    if waiting:
        queue = iter(waiting)
        done = len(tasks) - len(waiting)
        with workers(jobs, scheduler) as client:
            for task, problem in work_through(client, sample_part, lambda: next(queue, None)):
                done += 1
                if problem is None:
                    problem = "worker processes died at this molecule, again and again"
                if problem:
                    failures[task[0].name] = problem
                if progress is not None:
                    progress(done, len(tasks))
    parts = [Store.read(task[3]) for task in tasks if Path(task[3]).exists()]
    if not parts:
        raise ValueError("; ".join(f"{name}: {problem}" for name, problem in failures.items()))
    store = join(parts)
    store.manifest = Manifest(name=out.stem, description=f"sampled: {config.model_dump_json()}")
    store.write(out)
    if not failures:
        shutil.rmtree(folder)
    return store, failures


def sample_part(molecule: Molecule, partner: Molecule, config: SampleConfig, path: str) -> str:
    """Sample one molecule in a worker and write its store; return what went wrong, or nothing."""
    try:
        sample_molecule(molecule, partner, config).write(path)
    except Exception as error:  # one molecule's troubles are not the others'
        return f"{type(error).__name__}: {error}"
    return ""


def _part(molecule: Molecule, partner: Molecule, config: SampleConfig) -> str:
    starts = b"".join(
        atoms.positions.tobytes() for each in (molecule, partner) for atoms in each.starts
    )
    words = repr([(m.name, m.smiles, m.charge) for m in (molecule, partner)])
    known = words.encode() + config.model_dump_json().encode() + starts
    return f"{hashlib.sha256(known).hexdigest()[:24]}.h5"
