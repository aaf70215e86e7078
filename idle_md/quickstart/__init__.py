"""The tour: train IDLe and its control on shipped data, export, run MD, write a report."""

from idle_md.quickstart.run import run

__all__ = ["run"]
