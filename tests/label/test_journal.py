import threading
import time

import numpy as np
import pytest

from idle_md.label.journal import Journal, Record, locked, read_journal, read_journals


def record(name: str, energy: float | None = -1.5, n_atoms: int = 3) -> Record:
    forces = np.arange(3.0 * n_atoms).reshape(n_atoms, 3) / 7
    return Record(name, energy, forces, "", 0.25, "program 1.0")


def test_what_is_written_is_read(tmp_path) -> None:
    journal = Journal(tmp_path)
    records = [record("a"), Record("b", None, None, "no, 1 angstrom: é", 0.1, "p")]
    for each in records:
        journal.append(each)
    journal.close()
    found = list(read_journal(journal.path))
    assert [each.geometry for each in found] == ["a", "b"]
    np.testing.assert_array_equal(found[0].forces, records[0].forces)
    assert (found[1].energy, found[1].forces, found[1].reason) == (None, None, records[1].reason)


def test_torn_end_is_ignored_wherever_it_was_torn(tmp_path) -> None:
    """A kill or a power failure in the middle of a write loses that record alone."""
    first, second = record("a").encode(), record("b").encode()
    path = tmp_path / "x.journal"
    for length in range(len(second)):
        path.write_bytes(first + second[:length])
        assert [each.geometry for each in read_journal(path)] == ["a"]
    for place in range(len(second)):
        flipped = bytearray(second)
        flipped[place] ^= 0x40
        path.write_bytes(first + bytes(flipped))
        assert [each.geometry for each in read_journal(path)] == ["a"]
    path.write_bytes(first + second)
    assert [each.geometry for each in read_journal(path)] == ["a", "b"]


def test_zeros_at_the_end_are_no_record(tmp_path) -> None:
    path = tmp_path / "x.journal"
    path.write_bytes(record("a").encode() + bytes(64))
    assert [each.geometry for each in read_journal(path)] == ["a"]


def test_journals_in_use_are_read_but_not_given_away(tmp_path) -> None:
    living, finished = Journal(tmp_path), Journal(tmp_path)
    living.append(record("a"))
    finished.append(record("b"))
    finished.close()
    records, files = read_journals(tmp_path)
    assert sorted(records) == ["a", "b"]
    assert files == [finished.path]


def test_a_label_counts_more_than_a_failure_and_the_first_more_than_others(tmp_path) -> None:
    for energy in (None, -1.0, -2.0):
        journal = Journal(tmp_path)
        journal.append(Record("a", energy, None, "" if energy else "failed", 0.0, "p"))
        journal.close()
    assert read_journals(tmp_path)[0]["a"].energy in (-1.0, -2.0)


def test_lock(tmp_path) -> None:
    with (
        locked(tmp_path / "lock", "somebody"),
        pytest.raises(BlockingIOError, match="in use by somebody, process"),
        locked(tmp_path / "lock", "another"),
    ):
        pass
    with locked(tmp_path / "lock", "another"):
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


def test_lock_is_waited_for_though_it_is_removed(tmp_path) -> None:
    held, order = tmp_path / "lock", []

    def work(name: str) -> None:
        with locked(held, name, wait=True):
            order.append(f"{name} in")
            time.sleep(0.05)
            order.append(f"{name} out")

    threads = [threading.Thread(target=work, args=(str(k),)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(order) == 12
    assert all(order[k].split()[0] == order[k + 1].split()[0] for k in range(0, 12, 2))
