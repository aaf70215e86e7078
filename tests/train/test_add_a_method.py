"""A method of another package: one file and one entry point."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from idle_md.nn import load_checkpoint
from idle_md.train import parse_config, train
from tests.packages import install

METHOD = '''
from typing import Literal

from idle_md.train.config import Method
from idle_md.train.stages.fit import Fit


class Lowest(Method):
    """All levels together, without a correction; the first one counts double."""

    name: Literal["lowest"] = "lowest"
    factor: float = 2.0

    def fidelities(self, config):
        return [f for f in config.labels if f != config.target] + [config.target]

    def weight(self, config, fidelity):
        return self.factor if fidelity == config.fidelities[0] else 1.0

    def stages(self, config, folder):
        return [Fit(config, folder)]
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a package with the method, as an installer would."""
    install(tmp_path, "lowest_method", METHOD, "[idle_md.methods]\nlowest = lowest_method:Lowest\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("lowest_method", None)


@pytest.mark.usefixtures("installed")
def test_method_is_found_trained_and_resumed(settings: dict[str, Any]) -> None:
    settings["budget"] = {"steps": 4, "validate_every": 2}
    config = parse_config({**settings, "method": {"name": "lowest", "factor": 3.0}})
    assert config.method.weight(config, "gfn2") == 3.0
    run = train(config)
    assert load_checkpoint(run / "best.ckpt")[0].fidelities == ["gfn2", "wb97x"]
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["method"] == {"name": "lowest", "factor": 3.0}
    assert parse_config(written) == config
    with pytest.raises(ValueError, match=r"'method\.factr'; did you mean 'factor'"):
        parse_config({**settings, "method": {"name": "lowest", "factr": 3.0}})


def test_unknown_method_names_the_nearest(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unknown method 'transfre', did you mean 'transfer'"):
        parse_config({**settings, "method": "transfre"})
    with pytest.raises(ValueError, match=r"method: .*name is missing"):
        parse_config({**settings, "method": {"low_level": "gfn2"}})
