"""Geometries and their labels: sample, label, choose what to label next.

What is imported here is light, so that workers need neither torch nor h5py.
"""

from idle_md.label.programs.base import LabelError, Level, Result

__all__ = ["LabelError", "Level", "Result"]
