import ase.build
import pytest

from idle_md.deploy import load
from idle_md.deploy.timing import compare_inference

ETHANOL = ase.build.molecule("CH3CH2OH")
METHANE = ase.build.molecule("CH4")


def test_equal_models_take_equal_time(model_file) -> None:
    models = [load(model_file(seed=seed)) for seed in (0, 1)]
    found = compare_inference(*models, [METHANE, ETHANOL], repeats=60)
    assert found["ratio"]["median"] == pytest.approx(1.0, abs=0.1)
    for ratio in (found["ratio"], found["a_to_itself"], found["b_to_itself"]):
        assert ratio["low"] < 1.0 < ratio["high"]
    assert [size["n_atoms"] for size in found["sizes"]] == [5, 9]
    assert [size["n_edges"] for size in found["sizes"]] == [20, 70]
    assert found["operators_a"] == found["operators_b"]
    assert found["head_widths_a"] == [16, 8, 1]


def test_deeper_model_takes_longer(model_file) -> None:
    small, large = (load(model_file(interactions=k), kernels="portable") for k in (1, 3))
    found = compare_inference(large, small, [ETHANOL], repeats=20)
    assert found["ratio"]["median"] > 1.5
    [size] = found["sizes"]
    assert size["ms_a"] > 1.5 * size["ms_b"] > 0.0
    assert sum(found["operators_a"].values()) > sum(found["operators_b"].values())
