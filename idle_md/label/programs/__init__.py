"""Adapters of electronic structure programs, one file a program."""
