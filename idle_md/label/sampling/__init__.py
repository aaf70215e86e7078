"""From molecules to geometries."""

from idle_md.label.sampling.config import SampleConfig
from idle_md.label.sampling.molecule import Molecule, from_file, from_smiles
from idle_md.label.sampling.run import sample

__all__ = ["Molecule", "SampleConfig", "from_file", "from_smiles", "sample"]
