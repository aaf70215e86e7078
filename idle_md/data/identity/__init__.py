"""Which geometries are the same, and how one is laid on another."""
