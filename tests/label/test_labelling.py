"""Labelling a store: plans, failures, resumption, dying workers and clients."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from idle_md.data import Store, from_atoms, join
from idle_md.label import cluster, labelling
from idle_md.label.calculation import calculate
from idle_md.label.journal import Journal, Record
from idle_md.label.labelling import label
from idle_md.label.levels import find_level
from idle_md.label.merging import identity, journal_folder


def test_labels_are_those_of_the_level(make_store) -> None:
    path = make_store(7)
    report = label(path, "gfn2", jobs=2)
    store = Store.read(path)
    assert (report.labelled, report.failed) == (7, 0)
    for index in range(7):
        expected = calculate(find_level("gfn2"), store.atoms(index))
        mine = slice(store.offsets[index], store.offsets[index + 1])
        assert store.labels["gfn2"].energy[index] == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(store.labels["gfn2"].forces[mine], expected.forces, atol=1e-6)
    assert set(store.info["gfn2_status"]) == {"converged"}
    assert set(store.info["gfn2_program"]) == {f"tblite {find_level('gfn2').theory.version}"}
    assert (store.info["gfn2_cpu_seconds"] > 0).all()
    level = store.manifest.levels["gfn2"]
    assert level.method == "GFN2-xTB"
    assert level.cpu_seconds_per_label == pytest.approx(store.info["gfn2_cpu_seconds"].mean())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_subset_is_a_number_in_the_end(make_store, scheduler) -> None:
    path = make_store(20)
    assert label(path, "spring", subset=6, scheduler=scheduler).labelled == 6
    store = Store.read(path)
    labelled = store.group[store.has_energy("spring")]
    assert [(labelled == name).sum() for name in ("H2O", "CH4")] == [3, 3]
    assert label(path, "spring", subset=6, scheduler=scheduler).labelled == 0
    assert label(path, "spring", subset=8, select="diverse", scheduler=scheduler).labelled == 2
    label(path, "spring", subset=3, select=_is_last, fidelity="other", scheduler=scheduler)
    assert (np.flatnonzero(Store.read(path).has_energy("other")) >= 20 - 9).all()


def _is_last(store: Store) -> np.ndarray:
    return np.arange(store.n_geometries, dtype=float)


def test_two_levels_are_not_mixed_under_one_name(make_store, added_levels, scheduler) -> None:
    path = make_store(4)
    label(path, "gfn2", fidelity="cheap", subset=2, scheduler=scheduler)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'cheap' is GFN2-xTB, not springs: give the new labels"):
        label(path, "spring", fidelity="cheap", scheduler=scheduler)
    assert path.read_bytes() == before


def test_filters(make_store, scheduler) -> None:
    path = make_store(10)
    store = Store.read(path)
    store.role = np.array(["train"] * 6 + [""] * 4)
    store.write(path)
    label(path, "spring", role="train", max_atoms=3, scheduler=scheduler)
    assert Store.read(path).has_energy("spring").nonzero()[0].tolist() == [0, 2, 4]
    label(path, "spring", fidelity="more", having="spring", subset=2, scheduler=scheduler)
    both = Store.read(path)
    assert (both.has_energy("more") <= both.has_energy("spring")).all()
    with pytest.raises(ValueError, match="there are the roles '', 'train'"):
        label(path, "spring", role="ood", scheduler=scheduler)


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ("picky", "not on this side: 12.5 angstrom"),
        ("buggy", "KeyError: 'oh'"),
        ("nan", "the energy or a force is not a finite number"),
    ],
)
def test_failures_are_recorded_with_their_reason(make_store, scheduler, level, reason) -> None:
    path = make_store(6)
    report = label(path, level, scheduler=scheduler)
    store = Store.read(path)
    failed = store.info[f"{level}_status"] == f"failed: {reason}"
    assert report.failed == failed.sum() > 0
    assert not store.has_energy(level)[failed].any()
    assert not store.has_forces(level)[failed].any()
    assert sum(report.reasons.values()) == report.failed
    assert label(path, level, scheduler=scheduler).failed == 0  # they are not tried again
    assert label(path, level, scheduler=scheduler, retry_failed=True).failed == failed.sum()


def test_bad_geometries_are_failures(tmp_path, scheduler) -> None:
    import ase

    images = [
        ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]]),
        ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.3]]),
        ase.Atoms("Th2", [[0, 0, 0], [0, 0, 3]]),
        ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]),
    ]
    path = tmp_path / "bad.h5"
    from_atoms(images, ["a", "b", "c", "d"]).write(path)
    report = label(path, "gfn2", scheduler=scheduler)
    assert (report.labelled, report.failed) == (1, 3)
    assert Store.read(path).has_energy("gfn2").tolist() == [False, False, False, True]
    reasons = " ".join(report.reasons)
    for part in ("odd number of electrons, #", "are # angstrom apart", "No support for elements"):
        assert part in reasons


def test_geometry_that_kills_its_worker_is_a_failure(tmp_path, added_levels) -> None:
    import ase

    images = [ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]]) for k in range(8)]
    images.insert(3, ase.Atoms("He", [[0, 0, 0]]))
    path = tmp_path / "deadly.h5"
    from_atoms(images, ["x"] * 9).write(path)
    report = label(path, "deadly", jobs=2)
    assert (report.labelled, report.failed) == (8, 1)
    assert "worker processes died" in Store.read(path).info["deadly_status"][3]


def test_geometries_beside_a_deadly_one_are_not_blamed(
    make_store, added_levels, monkeypatch
) -> None:
    """A scheduler that blames each death on all that runs, as Dask may."""
    path = make_store(9)
    deadly = {identity(Store.read(path), index) for index in (3, 4)}

    class Scheduler:
        def run(self, function, *arguments):
            function(*arguments)

    def work_through(client, function, next_task):
        while running := list(itertools.takewhile(bool, iter(next_task, None))):
            died = any(geometry[0] in deadly for task in running for geometry in task[2])
            for task in running:
                yield task, None if died else function(*task)

    monkeypatch.setattr(labelling, "work_through", work_through)
    monkeypatch.setattr(labelling, "workers", lambda *_: contextlib.nullcontext(Scheduler()))
    report = label(path, "spring")
    assert (report.labelled, report.failed) == (7, 2)
    status = Store.read(path).info["spring_status"]
    assert [index for index in range(9) if "died" in status[index]] == [3, 4]


def test_lost_worker_processes_are_an_error(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    tasks = iter([(1,), None])
    with (
        cluster.workers(0, None) as client,
        pytest.raises(ConnectionError, match="could not be replaced; start again to go on"),
    ):
        list(cluster.work_through(client, abs, lambda: next(tasks)))


def test_second_client_is_refused(make_store, added_levels) -> None:
    path = make_store(60)
    with subprocess.Popen([sys.executable, str(_script(path))]) as client:
        lock = journal_folder(path, "slow") / "lock"
        while not (lock.is_file() and lock.read_text()):
            time.sleep(0.05)
        with pytest.raises(BlockingIOError, match=f"label` at slow, process {client.pid}"):
            label(path, "slow")
        client.send_signal(signal.SIGINT)


def test_leftover_journals_are_merged_and_the_store_wins(make_store, scheduler) -> None:
    path = make_store(4)
    label(path, "spring", subset=1, scheduler=scheduler)
    store = Store.read(path)
    done = int(np.flatnonzero(store.has_energy("spring"))[0])
    before = store.labels["spring"].energy[done]
    journal = Journal(journal_folder(path, "spring"))
    other = (done + 1) % 4
    for index in (done, other):
        forces = np.zeros((store.n_atoms[index], 3))
        journal.append(Record(identity(store, index), -99.0, forces, "", 1.0, "springs 1.0"))
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b"torn")
    assert (
        label(path, "spring", scheduler=scheduler).labelled == 1 + 2
    )  # the leftover and the two others
    energies = Store.read(path).labels["spring"].energy
    assert (energies[done], energies[other]) == (before, -99.0)


def test_copies_of_a_geometry_are_calculated_once(make_store, scheduler) -> None:
    path = make_store(3)
    store = Store.read(path)
    store.select([0, 1, 0, 2]).write(path)
    assert label(path, "spring", scheduler=scheduler).labelled == 4
    assert len(set(Store.read(path).labels["spring"].energy[[0, 2]])) == 1


def test_other_labels_stay(make_store, scheduler) -> None:
    path = make_store(5)
    label(path, "spring", subset=3, scheduler=scheduler)
    before = Store.read(path)
    label(path, "spring", fidelity="again", scheduler=scheduler)
    after = Store.read(path)
    assert replace(after, labels={"spring": after.labels["spring"]}).fidelities == ["spring"]
    np.testing.assert_array_equal(after.labels["spring"].energy, before.labels["spring"].energy)
    assert after.manifest.levels["spring"] == before.manifest.levels["spring"]


def _script(path: Path) -> Path:
    """Write a program that labels a store."""
    script = path.with_suffix(".py")
    script.write_text(
        "from pathlib import Path\nfrom idle_md.label.labelling import label\n"
        f"if __name__ == '__main__':\n    label(Path({str(path)!r}), 'slow', jobs=2)\n"
    )
    return script


@pytest.mark.parametrize(
    ("n_kills", "n_labels"), [(3, 60), pytest.param(20, 300, marks=pytest.mark.slow)]
)
def test_nothing_is_lost_whoever_is_killed(n_kills, n_labels, make_store, added_levels) -> None:
    """Workers and clients die at random moments while they label."""
    path = make_store(n_labels)
    script = _script(path)
    stop, problems = threading.Event(), []
    watcher = threading.Thread(target=_keep_opening, args=(path, stop, problems), daemon=True)
    watcher.start()
    luck = random.Random(7)
    kills, finished = 0, False  # all labels may be there before the last kill
    while not finished:
        client = subprocess.Popen([sys.executable, str(script)])
        while True:
            if kills >= n_kills:  # the last kill may have been at birth, so it may take one more
                finished = client.wait(timeout=120) == 0
                assert finished or kills == n_kills
                kills += 1
                break
            time.sleep(luck.uniform(0.05, 1.5))
            workers = _workers(client.pid)
            if workers and kills % 2 == 0:
                os.kill(luck.choice(workers), signal.SIGKILL)
                kills += 1
            elif workers:
                client.kill()
                client.wait()
                kills += 1
                break
            elif client.poll() is not None:  # done, or its first worker died at birth
                finished = client.returncode == 0
                break
    stop.set()
    watcher.join()
    assert not problems
    store = Store.read(path)
    assert store.n_geometries == n_labels
    assert int(store.has_energy("slow").sum()) == n_labels
    spring = [0.5 * (store.atoms(k).positions ** 2).sum() for k in range(n_labels)]
    np.testing.assert_allclose(store.labels["slow"].energy, spring, rtol=1e-12)
    np.testing.assert_allclose(store.labels["slow"].forces, -store.positions, rtol=1e-6)
    assert not journal_folder(path, "slow").exists()


def _workers(client: int) -> list[int]:
    """Return the worker processes of a client, not its resource tracker."""
    try:
        children = psutil.Process(client).children(recursive=True)
        return [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
    except psutil.Error:
        return []


def _keep_opening(path: Path, stop: threading.Event, problems: list[Exception]) -> None:
    while not stop.wait(0.02):
        try:
            Store.read(path)
        except Exception as error:
            problems.append(error)


def test_a_turned_copy_is_calculated_once_and_gets_turned_forces(make_store) -> None:
    path = make_store(3)
    store = Store.read(path)
    store.positions[store.offsets[0] : store.offsets[1]] += [0.0, 0.03, 0.05]
    turn = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, -0.8, 0.6]])
    copied = replace(store.select([0, 1, 2]), positions=np.round(store.positions @ turn + 1.0, 6))
    join([store, copied]).write(path)
    label(path, "gfn2", jobs=1)
    labelled = Store.read(path)
    gfn2 = labelled.labels["gfn2"]
    assert labelled.has_forces("gfn2").all()
    np.testing.assert_array_equal(gfn2.energy[3:], gfn2.energy[:3])
    for index in range(3, 6):
        mine = slice(labelled.offsets[index], labelled.offsets[index + 1])
        expected = calculate(find_level("gfn2"), labelled.atoms(index))
        np.testing.assert_allclose(gfn2.forces[mine], expected.forces, atol=1e-3)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("multiplicity", 2, r"geometry 1 \(CH4\): multiplicity=2.0 is no spin of 10 electrons"),
        ("n_unpaired", 3.0, "n_unpaired=3.0 is no spin of 10 electrons; correct it, or the charge"),
        ("total_charge", 2, "has the charge 0, but its column total_charge says 2"),
    ],
)
def test_charges_and_spins_in_columns_are_not_passed_over(
    make_store, column, value, message
) -> None:
    path = make_store(2)
    store = Store.read(path)
    store.info[column] = np.array([np.nan, value])
    store.write(path)
    with pytest.raises(ValueError, match=message):
        label(path, "gfn2", jobs=1)
