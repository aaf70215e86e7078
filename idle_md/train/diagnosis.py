"""Is the low level helping? The same training with and without it, over several seeds."""

import math
from typing import Any

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from scipy.special import stdtrit

from idle_md.nn import load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.config import TrainConfig
from idle_md.train.methods.single import Single
from idle_md.train.run import train_unless_finished

CONFIDENCE = 0.95


class Diagnosis(BaseModel):
    """Target validation errors with and without the other fidelities, and what they say."""

    verdict: str
    """``helped``, ``hurt`` or ``made no clear difference``."""
    ratio: float
    """Geometric mean of the error with the low level over the error without it."""
    ratio_low: float
    ratio_high: float
    """Its 95% confidence interval by Student's t over seeds."""
    seeds: list[int]
    with_low_level: list[float]
    without: list[float]
    """Best validation score of each seed, see ``FitModule.score``."""

    def __str__(self) -> str:
        interval = f"{self.ratio_low:.2f} to {self.ratio_high:.2f} at 95%"
        return (
            f"The low level {self.verdict}: the target's validation error is {self.ratio:.2f} "
            f"({interval}, {len(self.seeds)} seeds) times that of the target's labels alone."
        )


def control(config: TrainConfig) -> TrainConfig:
    """Return the single-fidelity control of a training: same labels of the target, same budget."""
    return config.model_copy(update={"method": Single()})


def diagnose(config: TrainConfig, seeds: int, resume: bool, console: Console | None) -> Diagnosis:
    """Train with and without the low level and write the diagnosis to the run folder.

    Every training has a subfolder of its own; finished ones are not repeated.

    Parameters
    ----------
    config
        Of a multi-fidelity method.
    seeds
        Trainings of each kind, two or more, with the seeds that follow ``config.seed``.
    resume
        Whether trainings that were stopped may be continued.
    console
        Where to show progress; None for silence.

    Raises
    ------
    ValueError
        If the method uses the target alone, so that there is nothing to compare.
    """
    if config.method == Single():
        raise ValueError("diagnose compares a method with `single`: choose another method")
    processes.join()
    folder = RunFolder(config.out)
    numbers = [config.seed + k for k in range(seeds)]
    scores: dict[str, list[float]] = {"with": [], "without": []}
    for seed in numbers:
        for name, variant in (("with", config), ("without", control(config))):
            out = folder.comparison(name, seed).path
            alone = {"out": out, "seed": seed, "diagnose": 0, "ensemble": 1}
            one = train_unless_finished(variant.model_copy(update=alone), console, resume)
            _, about = load_checkpoint(one.best_checkpoint)
            scores[name].append(about["validation"]["score"])
    diagnosis = judge(numbers, scores["with"], scores["without"])
    processes.by_first(lambda: folder.write_diagnosis(diagnosis.model_dump()))
    if console is not None:
        console.print(str(diagnosis))
    return diagnosis


def judge(seeds: list[int], with_low_level: list[float], without: list[float]) -> Diagnosis:
    """Compare errors seed by seed; the interval is that of the mean logarithm of their ratio."""
    logarithms = np.log(np.asarray(with_low_level) / np.asarray(without))
    mean, count = float(logarithms.mean()), len(logarithms)
    spread = float(logarithms.std(ddof=1)) / math.sqrt(count)
    half = float(stdtrit(count - 1, 0.5 + 0.5 * CONFIDENCE)) * spread
    low, high = math.exp(mean - half), math.exp(mean + half)
    verdict = "helped" if high < 1.0 else "hurt" if low > 1.0 else "made no clear difference"
    values: dict[str, Any] = {"ratio": math.exp(mean), "ratio_low": low, "ratio_high": high}
    return Diagnosis(
        verdict=verdict, seeds=seeds, with_low_level=with_low_level, without=without, **values
    )
