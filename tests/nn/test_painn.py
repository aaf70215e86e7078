import pytest

from idle_md.nn import PaiNN
from idle_md.testing import Invariants, Subject, isolated_energies, potential_evaluator

SETTINGS = [
    {"interactions": 1},
    {"interactions": 2, "radial": "gaussian"},
    {"interactions": 3, "features": 8, "n_radial": 5},
]


class TestPaiNN(Invariants):
    @pytest.fixture(scope="class", params=SETTINGS, ids=str)
    @classmethod
    def subject(cls, make_potential, request) -> Subject:
        potential = make_potential(**request.param)
        return Subject(
            potential_evaluator(potential, "high"),
            potential.backbone.elements,
            potential.backbone.cutoff,
            isolated_energies(potential, "high"),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"features": 0}, "features\n.*greater than 0"), ({"interactions": 0}, "greater than 0")],
    ids=str,
)
def test_sizes_below_one_are_errors(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        PaiNN.Config(**settings)


def test_no_elements_are_an_error() -> None:
    with pytest.raises(ValueError, match="PaiNN needs at least one element"):
        PaiNN([], PaiNN.Config())
