"""Labelling the geometries of a store: planned, spread over processes, merged; resumable."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idle_md.data import Store
from idle_md.data.identity.copies import geometry_ids
from idle_md.data.states import check_states, unpaired_of
from idle_md.fidelity import LevelOfTheory
from idle_md.label.calculation import Geometry, calculate_chunk, close_journal
from idle_md.label.cluster import work_through, workers
from idle_md.label.journal import Journal, Record, locked
from idle_md.label.levels import fidelity_name, find_level
from idle_md.label.merging import FAILED, Report, identity, journal_folder, merge, remove_folder
from idle_md.label.selection import Chooser, Score, choose
from idle_md.label.spins import check_spins_of, declared

TASK_SECONDS = 1.0  # what one task should take
LARGEST_TASK = 500
LAST_TASKS = 8  # at least that many are left to give out, so that workers end together

Progress = Callable[[int, int, int], None]


def label(
    path: Path,
    level: str,
    *,
    fidelity: str | None = None,
    subset: int | None = None,
    select: Literal["random", "diverse"] | Score | Chooser = "random",
    seed: int = 0,
    role: str | None = None,
    having: str | None = None,
    max_atoms: int | None = None,
    spin: int | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Label geometries of a store at a level of theory.

    Every label is on the disk within half a second, in journals beside the store, and merged into
    the store at the end or by the next call. So whatever is killed, calling this again goes on.

    Parameters
    ----------
    path
        Store (``.h5``) to which the labels are added.
    level
        See :func:`~idle_md.label.levels.find_level`.
    fidelity
        Name of the labels in the store; by default the level's, simplified.
    subset
        How many geometries shall have this label in the end; by default all.
    select
        Which: drawn evenly over the molecules, far from each other, or those with the highest
        score that a function gives to the candidates.
    seed
        Of the draw.
    role, having, max_atoms
        Consider only geometries of this role, with a label of this fidelity, up to this size.
    spin
        Number of unpaired electrons of those that are considered, for the store to keep. Where not
        given it is what each declares, none where nothing is said.
    jobs, scheduler
        Processes here, or a running Dask scheduler, whose workers must see the store's folder.
    retry_failed
        Also calculate what failed before.
    progress
        Called with the numbers of labels, of failures and of both that are wanted.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If the level is unknown, the labels of that name are of another one, the store is no
        store, or a geometry has another spin or one that the level does not know.
    BlockingIOError
        If the store is being labelled at this level.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    calculator = find_level(level)
    theory = calculator.theory
    fidelity = fidelity or fidelity_name(level)
    folder = journal_folder(path, fidelity)
    with locked(folder / "lock", f"`idle-md label` at {level}"):
        report = Report(fidelity)
        _check_level(Store.read(path).manifest.levels.get(fidelity), theory, fidelity)
        merge(path, folder, theory, report)
        store = Store.read(path)
        check_states(store)
        wanted = _wanted(store, role, having, max_atoms)
        if spin is not None:
            store = declared(path, wanted, spin)
        check_spins_of(calculator, store, wanted)
        plan = _plan(store, fidelity, wanted, subset, select, seed, retry_failed)
        try:
            if plan:
                _calculate(plan, level, folder, jobs, scheduler, progress)
        finally:
            merge(path, folder, theory, report)
    remove_folder(folder)
    return report


def _check_level(known: LevelOfTheory | None, theory: LevelOfTheory, fidelity: str) -> None:
    if known is not None and known.title.casefold() != theory.title.casefold():
        raise ValueError(
            f"the store's {fidelity!r} is {known.title}, not {theory.title}: give the new labels "
            "another name with --fidelity"
        )


def _wanted(
    store: Store, role: str | None, having: str | None, max_atoms: int | None
) -> NDArray[np.bool_]:
    wanted = np.ones(store.n_geometries, dtype=np.bool_)
    if role is not None:
        wanted &= store.role == role
    if having is not None:
        wanted &= store.has_energy(having)
    if max_atoms is not None:
        wanted &= store.n_atoms <= max_atoms
    if not wanted.any():
        roles = ", ".join(repr(each) for each in np.unique(store.role).tolist())
        raise ValueError(
            "no geometry has this role, label and size: nothing to label; there are the roles "
            f"{roles} ('' is none)"
        )
    return wanted


def _plan(
    store: Store,
    fidelity: str,
    wanted: NDArray[np.bool_],
    subset: int | None,
    select: Literal["random", "diverse"] | Score | Chooser,
    seed: int,
    retry_failed: bool,
) -> list[Geometry]:
    done = np.zeros(store.n_geometries, dtype=np.bool_)
    if fidelity in store.labels:
        done = store.has_energy(fidelity)
    status = store.info.get(f"{fidelity}_status")
    failed = np.zeros_like(done)
    if status is not None and not retry_failed:
        failed = np.char.startswith(status.astype(np.str_), FAILED) & ~done
    missing = np.flatnonzero(wanted & ~done & ~failed)
    if subset is not None:
        known = np.flatnonzero(wanted & done)
        n = min(max(0, subset - len(known)), len(missing))
        missing = choose(store, missing, n, select, seed, known)
    plan: dict[int, Geometry] = {}  # one of every geometry and its copies
    ids, unpaired = geometry_ids(store), unpaired_of(store)
    for index in missing.tolist():
        mine = slice(store.offsets[index], store.offsets[index + 1])
        name = identity(store, index, int(unpaired[index]))
        arrays = (store.numbers[mine], store.positions[mine], store.cell[index], store.pbc[index])
        state = int(store.charge[index]), int(unpaired[index])
        plan.setdefault(int(ids[index]), (name, *arrays, *state))
    return list(plan.values())


def _calculate(
    plan: Sequence[Geometry],
    level: str,
    folder: Path,
    jobs: int | None,
    scheduler: str | None,
    progress: Progress | None,
) -> None:
    queue = _Queue(plan)
    counts = [0, 0]
    with workers(jobs, scheduler) as client:

        def next_task() -> tuple[str, str, list[Geometry]] | None:
            chunk = queue.take()
            return (level, str(folder), chunk) if chunk else None

        for task, result in work_through(client, calculate_chunk, next_task):
            chunk: list[Geometry] = task[2]
            if result is None:
                if not queue.convicts(chunk):
                    continue
                _give_up(chunk[0], folder)
                counts[1] += 1
            else:
                queue.done()
                journal, outcomes, seconds = result
                _check_visible(folder, journal)
                queue.learn(seconds / len(chunk))
                counts[0] += sum(outcomes)
                counts[1] += len(outcomes) - sum(outcomes)
            if progress is not None:
                progress(counts[0], counts[1], len(plan))
        client.run(close_journal, str(folder))


class _Queue:
    """Geometries that wait, given out in chunks of about a second; suspects one by one.

    A scheduler blames a worker's death on every task that the worker held. So a geometry that
    was given out by itself and still saw workers die is tried again in the end, when nothing
    else runs, and only that counts.
    """

    def __init__(self, plan: Sequence[Geometry]) -> None:
        self._waiting = deque(plan)
        self._suspects: deque[Geometry] = deque()
        self._tried_last: deque[Geometry] = deque()
        self._on_trial = False
        self._running = 0
        self._size = 1

    def take(self) -> list[Geometry]:
        chunk: list[Geometry] = []
        if self._suspects:
            chunk = [self._suspects.popleft()]
        elif self._waiting:
            left = len(self._waiting)
            fair = max(1, left // LAST_TASKS)
            chunk = [self._waiting.popleft() for _ in range(min(self._size, fair, left))]
        elif self._tried_last and not self._running:
            self._on_trial = True
            chunk = [self._tried_last.popleft()]
        self._running += bool(chunk)
        return chunk

    def done(self) -> None:
        self._running -= 1

    def convicts(self, chunk: list[Geometry]) -> bool:
        """Take back a chunk at which workers died, or blame it if nothing else was running."""
        self._running -= 1
        if self._on_trial:
            return True
        (self._suspects if len(chunk) > 1 else self._tried_last).extend(chunk)
        return False

    def learn(self, seconds: float) -> None:
        fitting = int(TASK_SECONDS / max(seconds, 1e-6))
        self._size = max(1, min(fitting, LARGEST_TASK, 2 * self._size))


def _give_up(geometry: Geometry, folder: Path) -> None:
    journal = Journal(folder)
    reason = "worker processes died at this geometry, again and again"
    journal.append(Record(geometry[0], None, None, reason, 0.0, ""))
    journal.close()


def _check_visible(folder: Path, journal: str) -> None:
    if not (folder / journal).exists():
        raise FileNotFoundError(
            f"a worker wrote {folder / journal}, which is not there: put the store on a file "
            "system that this machine and all workers share, at the same path"
        )
