"""Every backbone behind the same configuration: it trains, is exported, and evaluates equal."""

from typing import Any

import pytest
import torch

from idle_md.deploy import export_checkpoint, load
from idle_md.nn import BACKBONES, load_checkpoint
from idle_md.nn.parameter_groups import parameter_groups
from idle_md.train import parse_config, train
from idle_md.train.errors import errors_of_file
from idle_md.train.fit.callbacks import read_log

SECTIONS: dict[str, dict[str, Any]] = {
    "painn": {"features": 16, "cutoff": 4.0, "n_radial": 6},
    "hipnn": {"features": 16, "cutoff": 4.0, "n_sensitivities": 10, "atom_layers": 1},
    "gmnn": {"layers": [32, 32], "cutoff": 4.0},
}


@pytest.mark.parametrize("name", SECTIONS)
def test_training_lowers_the_errors_and_the_export_has_them(settings, tmp_path, name) -> None:
    del settings["head_hidden"]
    settings["backbone"] = {"name": name, **SECTIONS[name]}
    run = train(parse_config(settings))
    rows = read_log(run / "log.csv")
    assert rows[-1]["gfn2_force_mae_mev_per_angstrom"] < (
        0.6 * rows[0]["gfn2_force_mae_mev_per_angstrom"]
    )
    assert min(row["score"] for row in rows[1:]) < rows[0]["score"]
    metadata = export_checkpoint(run / "best.ckpt", None, tmp_path / "model.pt")
    assert metadata.backbone["name"] == name
    assert load(tmp_path / "model.pt").metadata == metadata.model_copy(
        update={"content_sha256": load(tmp_path / "model.pt").metadata.content_sha256}
    )
    store = settings["data"]["store"]
    expected = errors_of_file(run / "best.ckpt", store)["test"]["wb97x"]
    found = errors_of_file(tmp_path / "model.pt", store)["test"]["wb97x"]
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-3), key


@pytest.mark.parametrize("name", BACKBONES)
def test_a_name_alone_stands_for_the_defaults(settings, name) -> None:
    config = parse_config({**settings, "backbone": name})
    assert config.backbone == BACKBONES[name].Config()
    assert parse_config(config.model_dump(mode="json")) == config


def test_heads_are_linear_unless_painn_or_asked_for(settings) -> None:
    del settings["head_hidden"]
    widths = {
        name: parse_config({**settings, "backbone": {"name": name}}).hidden_width
        for name in BACKBONES
    }
    assert widths == {"painn": 32, "hipnn": 0, "gmnn": 0}
    asked = parse_config({**settings, "backbone": "hipnn", "head_hidden": 7})
    assert asked.hidden_width == 7


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("hipnn", {"interaction_1", "interaction_2", "readout", "scale_shift"}),
        ("gmnn", {"descriptor", "network", "scale", "readout", "scale_shift"}),
    ],
)
def test_parameter_groups_have_names_to_set_rates_by(make_potential, name, groups) -> None:
    assert set(parameter_groups(make_potential(name=name))) == groups


@pytest.mark.parametrize("name", ["hipnn", "gmnn"])
def test_transfer_freezes_the_descriptor_and_copies_a_linear_head(settings, name) -> None:
    del settings["head_hidden"]
    frozen = {"hipnn": "interaction_1", "gmnn": "descriptor"}[name]
    finetune = {"rates": {frozen: 0}, "budget": {"steps": 20, "validate_every": 10}}
    method = {"name": "transfer", "source": "gfn2", "finetune": finetune}
    settings |= {"method": method, "backbone": {"name": name, **SECTIONS[name]}}
    run = train(parse_config(settings))
    source, _ = load_checkpoint(run / "pretrain" / "best.ckpt")
    tuned, _ = load_checkpoint(run / "best.ckpt")
    before, after = parameter_groups(source), parameter_groups(tuned)
    assert all(map(torch.equal, before[frozen], after[frozen]))
    assert not all(map(torch.equal, before["readout"], after["readout"]))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "hipnn", "tensr_order": 1}, r"backbone\.tensr_order'.* 'tensor_order'"),
        ({"name": "gmnn", "n_base": 1}, r"backbone\.n_base'.* 'n_basis'"),
        ({"featurs": 1}, r"backbone\.featurs'.* 'features'"),
        (
            {"name": "hipnn", "tensor_order": 3},
            r"backbone\.tensor_order: Input should be 0, 1 or 2",
        ),
        ({"name": "gmnn", "layers": []}, r"backbone\.layers: .*at least 1 item"),
        ("schnet", r"backbone: .*'schnet'.*painn, hipnn, gmnn"),
    ],
    ids=str,
)
def test_bad_sections_name_the_key(settings, backbone, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config({**settings, "backbone": backbone})
