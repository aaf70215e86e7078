"""How much the other fidelities should count: tried out, and judged by the target."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from idle_md.nn import Potential, load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.config import TrainConfig
from idle_md.train.run import train_unless_finished
from idle_md.train.stage import Stage

CANDIDATES = (0.1, 0.3, 1.0, 3.0)


class WeightChoice(Stage):
    """Chooses the low-level weight with the smallest validation error of the target, and goes on.

    Parameters
    ----------
    folder
        Where the errors are written.
    trials
        A short training with each weight, in a subfolder of its own; finished ones are not
        repeated.
    following
        Gives the stages that are done with the weight that was chosen.
    """

    def __init__(
        self,
        folder: RunFolder,
        trials: Mapping[float, TrainConfig],
        following: Callable[[float], Sequence[Stage]],
    ) -> None:
        self.folder = folder
        self.trials = trials
        self.following = following

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        stages = self.following(self.chosen(console))
        for stage in stages:
            potential = stage.run(potential, resume, console)
        assert potential is not None
        return potential

    def chosen(self, console: Console | None) -> float:
        """Return the weight, and write the errors of all of them."""
        scores = {}
        for weight, trial in self.trials.items():
            trained = train_unless_finished(trial, console)
            _, about = load_checkpoint(trained.best_checkpoint)
            scores[weight] = about["validation"]["score"]
        best = min(scores, key=lambda weight: scores[weight])
        if console is not None:
            shown = ", ".join(f"{weight:g}: {score:.1f}" for weight, score in scores.items())
            console.print(f"Low-level weight {best:g} (the target's validation errors: {shown})")
        result = {"chosen": best, "scores": scores}
        processes.by_first(lambda: self.folder.write_weights(result))
        return best
