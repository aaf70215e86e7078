"""What all stages have in common."""

from abc import ABC, abstractmethod

from rich.console import Console

from idle_md.nn import Potential


class Stage(ABC):
    """One step on the way from labels to the potential that is exported."""

    @abstractmethod
    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        """Return a trained potential.

        Parameters
        ----------
        potential
            That of the stage before; None in the first one.
        resume
            Continue what was stopped, exactly where it was saved.
        console
            Where to show progress; None for silence.
        """
