"""Make the data set that the shipped base models are trained on.

Everything of the data set chno, whose roles hold, and GFN2-xTB labels of some thousands of other
molecules. One molecule in twenty of the latter gets the role `ood`, pairs of molecules with it, and
so is never trained on: which ones, a checksum of the canonical SMILES decides. Molecules that chno
has too are not held out.

    python data/foundation/join.py chno.h5 foundation.h5 molecules.smi -o base.h5
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from rdkit import Chem

from idle_md.data import join, load, merge_copies
from idle_md.data.sources import save

ONE_IN = 20


def canonical(smiles: str) -> str:
    """Return the SMILES that RDKit writes for a molecule."""
    return str(Chem.CanonSmiles(smiles))


def is_held_out(smiles: str) -> bool:
    """Return whether a molecule, given by its canonical SMILES, is one of those held out."""
    digest = hashlib.sha256(smiles.encode()).digest()
    return int.from_bytes(digest[:4], "big") % ONE_IN == 0


def main() -> None:
    """Read, set roles, join, write, say what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chno", type=Path, help="store of all of chno, chno-mini first")
    parser.add_argument("foundation", type=Path, help="store of the other molecules")
    parser.add_argument("molecules", type=Path, help="their SMILES and names, one a line")
    parser.add_argument("--elements", nargs="+", help="only geometries of these, such as H C")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    chno, foundation = load(arguments.chno), load(arguments.foundation)
    known = {canonical(each) for each in np.unique(chno.info["smiles"]) if each and "." not in each}
    rows = [line.split() for line in arguments.molecules.read_text().splitlines()]
    smiles = {name: canonical(text) for text, name in rows}
    held_out = {name for name, each in smiles.items() if is_held_out(each) and each not in known}
    names = [str(group).split("+") for group in foundation.group]
    foundation.role = np.array(["train" if held_out.isdisjoint(each) else "ood" for each in names])
    store = merge_copies(join([chno, foundation]))
    if arguments.elements:
        allowed = np.isin(store.numbers, [atomic_numbers[each] for each in arguments.elements])
        store = store.select(np.logical_and.reduceat(allowed, store.offsets[:-1]))
    save(store, arguments.out)
    held = len(held_out & {each for some in names for each in some})
    print(f"{store.n_geometries} geometries; {held} of {len(smiles)} molecules held out")


if __name__ == "__main__":
    main()
