import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from idle_md.campaign import grow, load_campaign
from idle_md.data import Store


def settings(out: Path, **changes) -> dict:
    return {
        "out": str(out),
        "molecules": ["O water"],
        "sample": {"frames": 14, "mix": {"modes": 1}},
        "low": {"level": "gfn2"},
        "high": {"level": "gfn1", "fidelity": "dear"},
        "first": 6,
        "per_round": 3,
        "rounds": 2,
        "train": {
            "backbone": {"features": 16, "cutoff": 4.0},
            "budget": {"steps": 20, "validate_every": 10},
            "batch": {"size": 8},
            "threads": 1,
            "data": {"split": {"validation": 0.3}},
        },
        "jobs": 1,
        **changes,
    }


def write(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_rounds_grow_and_are_not_repeated(tmp_path) -> None:
    config = load_campaign(write(tmp_path / "c.yaml", settings(tmp_path / "run")))
    console = Console(quiet=True)
    one_round = config.model_copy(update={"rounds": 1})
    assert len(grow(one_round, console)) == 1
    before = (tmp_path / "run" / "round-0" / "metrics.json").stat().st_mtime_ns
    done = grow(config, console)
    assert (tmp_path / "run" / "round-0" / "metrics.json").stat().st_mtime_ns == before
    assert [entry["geometries"] for entry in done] == [14, 28]
    assert [entry["labels"] for entry in done] == [
        {"gfn2": 14, "dear": 6},
        {"gfn2": 28, "dear": 9},
    ]
    assert done == json.loads((tmp_path / "run" / "campaign.json").read_text())
    assert 0 < done[0]["cpu_seconds"] < done[1]["cpu_seconds"]
    store = Store.read(tmp_path / "run" / "store.h5")
    assert set(np.unique(store.info["seed"])) == {0, 1}
    spent = config.model_copy(update={"rounds": 5, "cpu_seconds": 1e-6})
    assert len(grow(spent, console)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frist": 3}, "frist"),
        ({"sample": {"framse": 3}}, r"key 'sample\.framse'; did you mean 'frames'"),
        ({"train": {"target": "x"}}, r"train\.target is set by the campaign"),
        ({"train": {"budget": {"stpes": 3}}}, "did you mean"),
        ({"sample": {"mix": {"mf": 1}}}, "give one of md, modes, torsions"),
    ],
)
def test_wrong_settings(tmp_path, changes, message) -> None:
    path = write(tmp_path / "c.yaml", settings(tmp_path / "run", **changes))
    with pytest.raises(ValueError, match=message):
        load_campaign(path)


def test_missing_configuration(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no configuration at"):
        load_campaign(tmp_path / "none.yaml")


def test_example_is_valid() -> None:
    assert load_campaign(Path(__file__).parents[1] / "examples" / "grow.yaml").rounds == 3
