"""Deployed models in LAMMPS; light, because LAMMPS imports the plugin's place at every start."""
