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
    "settings", [{"elements": []}, {"features": 0}, {"interactions": 0}], ids=str
)
def test_sizes_below_one_are_errors(settings) -> None:
    with pytest.raises(ValueError, match="at least one"):
        PaiNN(**{"elements": [1, 6], **settings})
