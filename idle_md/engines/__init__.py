"""Engines that run deployed models."""
