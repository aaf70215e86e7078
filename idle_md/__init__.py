"""Implicit delta learning: train at several levels of theory, run dynamics at one of them."""
