"""Make the chno-mini of the package anew from the data set chno.

What chno-mini held before goes first and stays as it is, with its roles. Then come the geometries
for expensive labels that may be trained on, and some of those with PM6 labels, drawn in turn from
every molecule and every pair of molecules.

    python data/refresh.py
"""

from pathlib import Path

import numpy as np

from idle_md.data import Store, draw_labels, join, load, merge_copies, read_manifest

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "idle_md" / "data"
COLUMNS = ("conformer", "frame", "sampling", "smiles", "temperature_K")
N_PM6, N_PM6_PAIRS = 5080, 1016  # 40 of every molecule, 8 of every pair


def chosen(source: Store, among: np.ndarray, n: int) -> np.ndarray:
    """Indices of ``n`` geometries with PM6 labels."""
    return draw_labels(source, np.flatnonzero(among), "pm6", n)


def main() -> None:
    """Read, choose, write."""
    old, high, pm6 = load("chno-mini"), load(HERE / "chno/high.h5"), load(HERE / "chno/pm6.h5")
    known = {key for store in (high, pm6) for key in map(store.key, range(store.n_geometries))}
    old = old.select([old.key(index) not in known for index in range(old.n_geometries)])
    is_pair = np.char.find(pm6.group, "+") >= 0
    some = np.concatenate([chosen(pm6, ~is_pair, N_PM6), chosen(pm6, is_pair, N_PM6_PAIRS)])
    new = join([high.select(high.role == ""), pm6.select(some)])
    new.role = np.full(new.n_geometries, "train")
    store = merge_copies(join([old, new]))
    store.info = {key: store.info[key] for key in COLUMNS}
    store.manifest = read_manifest(PACKAGE / "chno-mini.yaml").covering(store.labels)
    store.write(PACKAGE / "chno-mini.h5")


if __name__ == "__main__":
    main()
