"""Compiled code: where it is, how it is loaded, how it is built."""
