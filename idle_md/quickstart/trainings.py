"""Several trainings at the same time, each in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from idle_md.run_folder import RunFolder
from idle_md.train.config import TrainConfig
from idle_md.train.fit.callbacks import Row, read_log

POLL_SECONDS = 2.0
LINE_SECONDS = 30.0  # between lines of progress where the output is no terminal
LAST_LINES = 15


def train_side_by_side(
    configs: dict[str, TrainConfig], console: Console
) -> dict[str, dict[str, Any]]:
    """Run trainings concurrently and return the metrics of each, by name.

    Raises
    ------
    RuntimeError
        If one fails; the others are stopped, and the message ends with what it printed last.
    """
    processes = {name: _start(name, config) for name, config in configs.items()}
    try:
        with _Display(configs, console) as display:
            while any(process.poll() is None for process in processes.values()):
                time.sleep(POLL_SECONDS)
                failed = [name for name, process in processes.items() if process.poll()]
                if failed:
                    last_words = _tail(configs[failed[0]].out)
                    raise RuntimeError(f"training {failed[0]} failed:\n{last_words}")
                display.refresh_from_logs()
    finally:
        for process in processes.values():
            process.kill()
    return {name: RunFolder(config.out).read_metrics() for name, config in configs.items()}


def learning_curves(configs: dict[str, TrainConfig]) -> dict[str, tuple[str, list[Row]]]:
    """Return the fidelity that each training is judged by, and the rows of its log."""
    return {
        name: (config.target, read_log(RunFolder(config.out).log_file))
        for name, config in configs.items()
    }


def training_seconds(configs: dict[str, TrainConfig]) -> dict[str, float]:
    """Return the seconds that each training took."""
    return {
        name: float(RunFolder(config.out).read_metrics()["train_seconds"])
        for name, config in configs.items()
    }


def _start(name: str, config: TrainConfig) -> "subprocess.Popen[bytes]":
    folder = config.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    with _output(config.out).open("wb") as output:
        command = [sys.executable, "-m", "idle_md", "train", str(path)]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _output(run: Path) -> Path:
    return run.with_suffix(".log")


def _tail(run: Path) -> str:
    return "\n".join(_output(run).read_text(errors="replace").splitlines()[-LAST_LINES:])


class _Display(Progress):
    """A bar per training; where the output is no terminal, a line now and then."""

    def __init__(self, configs: dict[str, TrainConfig], console: Console) -> None:
        columns = (TextColumn("{task.description:<8}"), BarColumn(), TimeRemainingColumn())
        super().__init__(*columns, TextColumn("{task.fields[errors]}"), console=console)
        self.configs = {self.add_task(n, total=1.0, errors="starts"): c for n, c in configs.items()}
        self.next_line = time.monotonic() + LINE_SECONDS

    def refresh_from_logs(self) -> None:
        for bar, config in self.configs.items():
            rows = read_log(RunFolder(config.out).log_file)
            if rows:
                share = rows[-1]["seconds"] / (60.0 * (config.budget.minutes or float("inf")))
                energy = rows[-1][f"{config.target}_energy_mae_mev"]
                errors = (
                    f"step {rows[-1]['step']:,.0f}, {config.target} energy error {energy:.0f} meV"
                )
                self.update(bar, completed=min(share, 1.0), errors=errors)
        if not self.console.is_terminal and time.monotonic() > self.next_line:
            self.next_line += LINE_SECONDS
            for task in self.tasks:
                line = f"{task.description:<8}{task.percentage:4.0f}%  {task.fields['errors']}"
                self.console.print(line)
