"""Training: configuration, methods and their stages, the fit, and errors."""

from idle_md.train.closed_form.adaptation import predictive_std
from idle_md.train.closed_form.selection import LeastVariance
from idle_md.train.config import TrainConfig, load_config, parse_config
from idle_md.train.diagnosis import diagnose
from idle_md.train.disagreement import disagreement
from idle_md.train.ensemble import train_ensemble
from idle_md.train.methods.adapt import adapt_config
from idle_md.train.run import train

__all__ = [
    "LeastVariance",
    "TrainConfig",
    "adapt_config",
    "diagnose",
    "disagreement",
    "load_config",
    "parse_config",
    "predictive_std",
    "train",
    "train_ensemble",
]
