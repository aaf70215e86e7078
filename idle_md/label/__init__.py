"""Geometries and their labels: sample, label, choose what to label next.

Nothing is imported here, so that workers need neither torch nor h5py.
"""
