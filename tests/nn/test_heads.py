import pytest
import torch
from torch.nn.functional import silu

from idle_md.nn import FidelityHeads

FIDELITIES = ["low", "middle", "high"]


@pytest.fixture
def heads() -> FidelityHeads:
    torch.manual_seed(0)
    heads = FidelityHeads(6, 4, FIDELITIES, {"high": "low"}).to(torch.float64)
    for output in heads.output.values():
        torch.nn.init.normal_(output.weight)
        torch.nn.init.normal_(output.bias)
    for scale, parameter in zip((0.3, 2.0, 1.7), heads.scale.values(), strict=True):
        parameter.fill_(scale)
    return heads


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_folded_readout_gives_the_column_of_its_fidelity(heads, fidelity) -> None:
    features = torch.randn(11, 6, dtype=torch.float64)
    hidden, output = heads.folded(fidelity)
    found = output(torch.cat([features, silu(hidden(features))], dim=1))[:, 0]
    expected = heads(features)[:, FIDELITIES.index(fidelity)]
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_correction_adds_no_width(heads) -> None:
    shapes = {f: [tuple(layer.weight.shape) for layer in heads.folded(f)] for f in FIDELITIES}
    assert set(map(str, shapes.values())) == {"[(4, 6), (1, 10)]"}


def test_untrained_correction_is_zero() -> None:
    heads = FidelityHeads(6, 4, ["low", "high"], {"high": "low"})
    columns = heads(torch.randn(5, 6))
    torch.testing.assert_close(columns[:, 1], columns[:, 0], rtol=0.0, atol=0.0)


@pytest.mark.filterwarnings("error")
def test_heads_without_a_hidden_layer_are_linear() -> None:
    torch.manual_seed(0)
    heads = FidelityHeads(6, 0, FIDELITIES, {"high": "low"}).to(torch.float64)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter)
    assert all(parameter.numel() for parameter in heads.parameters())
    features = torch.randn(11, 6, dtype=torch.float64)
    columns = heads(features)
    for fidelity in FIDELITIES:
        hidden, output = heads.folded(fidelity)
        assert hidden is None
        assert output.in_features == 6
        expected = columns[:, FIDELITIES.index(fidelity)]
        torch.testing.assert_close(output(features)[:, 0], expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(heads.layer(features, "high"), features, rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("correction_on", "message"),
    [
        ({"high": "lwo"}, "unknown fidelity: there are low, middle, high"),
        ({"high": "middle", "middle": "low"}, "a correction itself"),
    ],
)
def test_bad_corrections_are_errors(correction_on, message) -> None:
    with pytest.raises(ValueError, match=message):
        FidelityHeads(6, 4, FIDELITIES, correction_on)
