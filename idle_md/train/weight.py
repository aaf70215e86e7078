"""How much the other fidelities should count: tried out, and judged by the target."""

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from idle_md.files import replacing
from idle_md.nn import load_checkpoint
from idle_md.train import processes
from idle_md.train.config import TrainConfig
from idle_md.train.method import IdleConfig
from idle_md.train.sections import BudgetConfig

CANDIDATES = (0.1, 0.3, 1.0, 3.0)
SHARE = 0.15  # of the budget, for each candidate

Train = Callable[[TrainConfig, bool, Console | None], Path]


def choose_weight(config: TrainConfig, train: Train, console: Console | None) -> float:
    """Return the low-level weight with the smallest validation error of the target.

    Every candidate is trained for a short time in a subfolder of ``weights`` of its own; finished
    trainings are not repeated. The errors are written to ``weights.json``.

    Parameters
    ----------
    config
        Of a joint training.
    train
        Runs a configuration, :func:`idle_md.train.train`.
    console
        Where to show progress; None for silence.
    """
    scores = {}
    for weight in CANDIDATES:
        trial = _trial(config, weight)
        if not processes.by_first((trial.out / "metrics.json").is_file):
            begun = processes.by_first((trial.out / "config.yaml").is_file)
            train(trial, begun, console)
        scores[weight] = load_checkpoint(trial.out / "best.ckpt")[1]["validation"]["score"]
    best = min(scores, key=lambda weight: scores[weight])
    if console is not None:
        shown = ", ".join(f"{weight:g}: {score:.1f}" for weight, score in scores.items())
        console.print(f"Low-level weight {best:g} (the target's validation errors: {shown})")
    processes.by_first(lambda: _write(config.out / "weights.json", best, scores))
    return best


def with_low_level_weight(config: TrainConfig, weight: float) -> TrainConfig:
    """Return a joint training with the weight of all fidelities but the target set."""
    method = config.method.model_copy(update={"low_level_weight": weight})
    return config.model_copy(update={"method": method})


def _trial(config: TrainConfig, weight: float) -> TrainConfig:
    budget, method = config.budget, config.method
    assert isinstance(method, IdleConfig)
    short = BudgetConfig(
        steps=max(1, round(SHARE * budget.steps)),
        minutes=budget.minutes and SHARE * budget.minutes,
        validate_every=max(1, round(SHARE * budget.validate_every)),
        max_validation=budget.max_validation,
    )
    alone = {"out": config.out / "weights" / f"{weight:g}", "budget": short}
    joint = config.model_copy(
        update={**alone, "method": method.model_copy(update={"finetune": None})}
    )
    return with_low_level_weight(joint, weight)


def _write(path: Path, best: float, scores: dict[float, float]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"chosen": best, "scores": scores}, indent=2))
