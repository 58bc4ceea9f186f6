"""Weights come out of checkpoints whole, for the right architecture, or not at all."""

import copy
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from builders import GREY, RGB, small_vit
from vit.batch import DataSpec
from vit.data import Digits
from vit.models import Encoder, ResNet, ViT
from vit.models.prefixes import UNWRITTEN, describe_prefixes, stored_prefixes
from vit.models.weights import checkpoint_in, describe, load_into, open_checkpoint, stored_encoder
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

LARGER = DataSpec(GREY.classes, (12, 16), 1, GREY.mean, GREY.std)


def content(encoder: Encoder, spec: DataSpec = GREY) -> dict:
    """A checkpoint by hand: the encoder, and a head that belongs to the objective."""
    state = {f"objective.encoder.{name}": value for name, value in encoder.state_dict().items()}
    state["objective.head.weight"] = torch.zeros(10, encoder.width)
    about = {"format": 1, "config": "", "global_step": 1}
    return about | {"encoder": describe(encoder, spec), "state_dict": state}


def save(stored: dict, folder: Path, name: str = "last.ckpt") -> Path:
    """Into a run folder; returns the file."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    torch.save(stored, folder / "checkpoints" / name)
    return folder / "checkpoints" / name


def trained() -> ViT:
    """No parameter where a fresh encoder has it."""
    encoder = small_vit(patch_size=2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    return encoder


# ---- fitting ------------------------------------------------------------------------------------


def test_the_same_architecture_receives_every_number(tmp_path):
    first, again = trained(), small_vit()
    report = load_into(again, stored_encoder(save(content(first), tmp_path)), channels=1)
    for name, value in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    count = sum(parameter.numel() for parameter in first.parameters())
    assert f"{len(first.state_dict())} tensors, {count:,} numbers, 100 % of the encoder" in report
    assert "resized" not in report
    assert "not used" not in report


def test_fresh_positions_stay_as_they_were_drawn_and_all_else_is_loaded(tmp_path):
    first, again = trained(), small_vit()
    drawn = {name: value.clone() for name, value in again.state_dict().items()}
    stored = stored_encoder(save(content(first), tmp_path))
    report = load_into(again, stored, channels=1, fresh=again.POSITIONS)
    for name, value in again.state_dict().items():
        positional = name in {"pos_embed", "cls_token"}
        assert torch.equal(value, (drawn if positional else first.state_dict())[name]), name
    assert "begun anew: cls_token pos_embed" in report
    assert "100 %" not in report


def test_a_run_with_fresh_positions_draws_them_from_its_own_seed(tmp_path):
    file, spec = save(content(trained()), tmp_path), GREY
    tables = []
    for positions in ("kept", "fresh"):
        torch.manual_seed(3)
        module = ViTModule(
            Supervised, pretrained=str(file), pretrained_positions=positions, spec=spec
        )
        tables.append(module.objective.encoder.pos_embed.detach())
    kept, fresh = tables
    assert torch.equal(kept, stored_encoder(file).state["pos_embed"])
    assert 0.015 < fresh.std() < 0.025 < kept.std()


def test_free_settings_of_the_checkpoints_encoder_can_be_others(tmp_path):
    file = save(content(small_vit(dropout=0.1, drop_path=0.1)), tmp_path)
    found = []
    for given in (None, {"dropout": 0.0, "drop_path": 0.2}):
        module = ViTModule(Supervised, pretrained=str(file), pretrained_settings=given, spec=GREY)
        encoder = module.objective.encoder
        found.append((encoder.pos_drop.p, encoder.blocks[-1].drop_path.fraction))
        assert module.untrained_encoder().settings == encoder.settings
    assert found == [(0.1, 0.1), (0.0, 0.2)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 3}, "depth of a ViT stays as its weights were trained; .* pool, dropout"),
        ({"dropout": 1.5}, "pretrained_settings: ViT: dropout"),
        ({"dropout": "much"}, "pretrained_settings: "),
        ({"resize": "none"}, "pretrained_settings: resize is 'none'; known: bilinear_corners"),
    ],
)
def test_other_settings_of_a_checkpoints_encoder_are_refused_in_one_line(tmp_path, given, message):
    file = save(content(trained()), tmp_path)
    with pytest.raises(ValueError, match=message):
        ViTModule(Supervised, pretrained=str(file), pretrained_settings=given, spec=GREY)


def test_settings_are_given_in_one_place_only(tmp_path):
    file = save(content(trained()), tmp_path)
    with pytest.raises(ValueError, match=r"needs model\.encoder: null"):
        ViTModule(Supervised, small_vit, pretrained=str(file),
                  pretrained_settings={"dropout": 0.0}, spec=GREY)  # fmt: skip


def test_loaded_weights_are_copies(tmp_path):
    encoder, stored = small_vit(), stored_encoder(save(content(trained()), tmp_path))
    load_into(encoder, stored, channels=1)
    torch.nn.init.zeros_(encoder.norm.weight)
    assert stored.state["norm.weight"].abs().min() > 0


def test_another_image_size_resamples_the_positions(tmp_path):
    first, larger = trained(), small_vit(LARGER, patch_size=2)
    report = load_into(larger, stored_encoder(save(content(first), tmp_path)), channels=1)
    grid = first.pos_embed[:, 1:].detach().reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (6, 8), mode="bilinear", align_corners=True)
    torch.testing.assert_close(larger.pos_embed[:, 1:].detach(), expected.flatten(2).mT)
    assert torch.equal(larger.pos_embed[:, 0], first.pos_embed[:, 0])
    assert "positions resized from (4, 4) to (6, 8)" in report


def test_positions_follow_the_rule_of_the_new_encoder(tmp_path):
    first, larger = trained(), small_vit(LARGER, patch_size=2, resize="bicubic")
    load_into(larger, stored_encoder(save(content(first), tmp_path)), channels=1)
    grid = first.pos_embed[:, 1:].detach().reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (6, 8), mode="bicubic", align_corners=False)
    torch.testing.assert_close(larger.pos_embed[:, 1:].detach(), expected.flatten(2).mT)


def test_a_table_without_class_token_is_resampled_whole(tmp_path):
    settings = {"patch_size": 2, "class_token": False, "pool": "mean"}
    first, larger = small_vit(**settings), small_vit(LARGER, **settings)
    load_into(larger, stored_encoder(save(content(first), tmp_path)), channels=1)
    corners = larger.pos_embed[0, [0, 7, 40, 47]]
    torch.testing.assert_close(corners, first.pos_embed[0, [0, 3, 12, 15]])


def test_a_resnet_receives_every_number(tmp_path):
    first, again = ResNet(GREY), ResNet(LARGER)
    report = load_into(again, stored_encoder(save(content(first), tmp_path)), channels=1)
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    assert "100 % of the encoder" in report
    assert "resized" not in report


def test_the_checkpoint_alone_rebuilds_its_encoder(tmp_path):
    first = trained()
    stored = stored_encoder(save(content(first), tmp_path))
    assert stored.spec == GREY
    again = stored.build(GREY)
    load_into(again, stored, channels=1)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(first.eval()(images).pooled, again.eval()(images).pooled)


def test_only_the_encoder_is_taken(tmp_path):
    first = trained()
    stored = stored_encoder(save(content(first), tmp_path))
    assert stored.state.keys() == first.state_dict().keys()


# ---- where the weights lie ----------------------------------------------------------------------


def run_with(average: bool, head: str | None = "head") -> nn.Module:
    """A module of unusual names: an objective, and perhaps an average of it."""
    objective = nn.Module()
    objective.body, objective.head = small_vit(), nn.Linear(32, 10)
    objective.encoder = objective.kept_encoder = objective.body
    objective.classifier_head = head
    run = nn.Module()
    run.learner = objective
    if average:
        run.mean = nn.Module()
        run.mean.inner = copy.deepcopy(objective)
        nn.init.ones_(run.mean.inner.head.weight)
        nn.init.ones_(run.mean.inner.body.norm.bias)
    return run


def content_of(run: nn.Module) -> dict:
    average = run.mean.inner if hasattr(run, "mean") else None
    about = describe(run.learner.body, GREY)
    about["prefixes"] = describe_prefixes(run, run.learner, average)
    state = {name: tensor.clone() for name, tensor in run.state_dict().items()}
    return {"format": 1, "config": "", "global_step": 1, "encoder": about, "state_dict": state}


@pytest.mark.parametrize("average", [False, True])
def test_weights_are_read_where_the_checkpoint_says(tmp_path, average):
    run = run_with(average)
    stored = stored_encoder(save(content_of(run), tmp_path))
    source = run.mean.inner if average else run.learner
    for name, tensor in source.body.state_dict().items():
        assert torch.equal(stored.state[name], tensor)
    assert torch.equal(stored.classifier["weight"], source.head.weight)
    trained = stored_encoder(save(content_of(run), tmp_path), average=False)
    assert torch.equal(trained.classifier["weight"], run.learner.head.weight)


def test_an_objective_without_a_classifier_has_none_in_its_checkpoint(tmp_path):
    assert stored_encoder(save(content_of(run_with(False, None)), tmp_path)).classifier == {}


@pytest.mark.parametrize(("objective", "has"), [("Supervised", True), ("MaskedPatches", False)])
def test_a_file_that_does_not_say_it_is_read_as_it_was_written(tmp_path, objective, has):
    first = trained()
    old = content(first) | {"config": f"model: {{objective: {{class_path: vit.x.{objective}}}}}"}
    old["state_dict"] |= {"objective.head.bias": torch.ones(10)}
    stored = stored_encoder(save(old, tmp_path))
    assert torch.equal(stored.state["norm.weight"], first.norm.weight)
    assert set(stored.classifier) == ({"weight", "bias"} if has else set())
    averaged = {
        k.replace("objective.", "average.copy."): 2 * v for k, v in old["state_dict"].items()
    }
    stored = stored_encoder(save(old | {"state_dict": old["state_dict"] | averaged}, tmp_path))
    assert torch.equal(stored.state["norm.weight"], 2 * first.norm.weight)
    assert not has or stored.classifier["bias"].tolist() == [2.0] * 10


def test_a_run_of_today_says_what_is_assumed_of_old_ones():
    spec = Digits().spec
    for ema in (None, 0.9):
        module = ViTModule(Supervised, small_vit, ema=ema, spec=spec)
        average = module.average.copy if ema else None
        checkpoint = {"encoder": {"prefixes": describe_prefixes(module, module.objective, average)}}
        assumed = {k: v for k, v in UNWRITTEN.items() if k != "classifier"}
        expected = assumed | {"head_kind": "linear"} | ({} if ema else {"average": None})
        assert checkpoint["encoder"]["prefixes"] == expected
        assert stored_prefixes(checkpoint | {"config": ""}) == expected


@pytest.mark.parametrize(
    "prefixes", [3, [], {}, {"trained": 3}, {"trained": "a.", "average": 1, "encoder": "b."}]
)
def test_a_damaged_place_of_weights_is_one_line(tmp_path, prefixes):
    stored = content_of(run_with(False))
    stored["encoder"]["prefixes"] = prefixes
    with pytest.raises(ValueError, match=r"damaged or foreign \(its encoder's description: "):
        stored_encoder(save(stored, tmp_path))


# ---- refusing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width": 64}, "width is 64 in the config and 32 in"),
        ({"depth": 3}, "depth is 3 in the config and 2 in"),
        ({"heads": 4}, "heads is 4 in the config and 2 in"),
        ({"patch_size": 4}, "patch_size is 4 in the config and 2 in"),
        ({"registers": 1}, "registers is 1 in the config and 0 in"),
        ({"gelu": "exact"}, "gelu is exact in the config and tanh in"),
    ],
)
def test_another_architecture_is_refused_by_field_and_both_values(tmp_path, settings, words):
    stored = stored_encoder(save(content(trained()), tmp_path))
    with pytest.raises(ValueError, match=words):
        load_into(small_vit(**{"patch_size": 2} | settings), stored, channels=1)


@pytest.mark.parametrize(
    "settings", [{"pool": "mean"}, {"dropout": 0.1}, {"drop_path": 0.1}, {"resize": "bicubic"}]
)
def test_what_changes_no_weight_may_differ(tmp_path, settings):
    stored = stored_encoder(save(content(trained()), tmp_path))
    report = load_into(small_vit(**settings), stored, channels=1)
    assert "100 % of the encoder" in report


def test_another_class_is_refused_by_both_names(tmp_path):
    stored = stored_encoder(save(content(ResNet(GREY)), tmp_path))
    with pytest.raises(ValueError, match=r"vit\.models\.resnet\.ResNet.*vit\.models\.vit\.ViT"):
        load_into(small_vit(), stored, channels=1)


def test_other_channels_are_refused_by_both_counts(tmp_path):
    stored = stored_encoder(save(content(trained()), tmp_path))
    with pytest.raises(ValueError, match="trained on 1 channels, the data has 3"):
        load_into(small_vit(RGB), stored, channels=3)


def test_missing_tensors_are_counted_and_the_first_is_named(tmp_path):
    stored = content(trained())
    for name in ("blocks.1.norm2.bias", "norm.weight"):
        del stored["state_dict"][f"objective.encoder.{name}"]
    with pytest.raises(ValueError, match=r"lacks 2 tensors .* blocks\.1\.norm2\.bias first"):
        load_into(small_vit(), stored_encoder(save(stored, tmp_path)), channels=1)


def test_tensors_that_nothing_uses_are_named(tmp_path):
    stored = content(trained())
    stored["state_dict"]["objective.encoder.mask_token"] = torch.zeros(32)
    report = load_into(small_vit(), stored_encoder(save(stored, tmp_path)), channels=1)
    assert report.endswith("not used: mask_token")


def test_a_class_that_is_no_encoder_is_not_built(tmp_path):
    stored = content(trained())
    stored["encoder"]["class_path"] = f"{OrderedDict.__module__}.OrderedDict"
    with pytest.raises(ValueError, match=r"collections\.OrderedDict, which is no Encoder"):
        stored_encoder(save(stored, tmp_path)).build(GREY)


# ---- files --------------------------------------------------------------------------------------


def test_a_run_folder_means_its_best_checkpoint(tmp_path):
    save({"format": 1}, tmp_path, "last.ckpt")
    best = save({"format": 1}, tmp_path, "best.ckpt")
    assert checkpoint_in(tmp_path) == best


def test_a_run_folder_without_a_best_means_its_last(tmp_path):
    last = save({"format": 1}, tmp_path, "last.ckpt")
    save({"format": 1}, tmp_path, "previous.ckpt")
    assert checkpoint_in(tmp_path) == last


def test_a_file_means_itself(tmp_path):
    save({"format": 1}, tmp_path, "best.ckpt")
    last = save({"format": 1}, tmp_path, "last.ckpt")
    assert checkpoint_in(last) == last


def test_an_empty_run_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no checkpoints/best.ckpt .* {tmp_path}"):
        stored_encoder(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file .*absent\.ckpt"):
        stored_encoder(str(tmp_path / "absent.ckpt"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9, 0.999])
def test_a_torn_file_is_called_damaged(tmp_path, share):
    file = save(content(trained()), tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged or foreign \(.+\)"):
        open_checkpoint(file)


@pytest.mark.parametrize(
    "text",
    [
        "<html><body>404</body></html>\n",
        "version https://git-lfs.github.com/spec/v1\n",
        "step,epoch,name,value\n0,0,train/loss,2.3\n",  # a run's metrics.csv
        "seed_everything: 0\n",  # a run's config.yaml
    ],
)
def test_a_text_file_is_called_foreign(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match="file is damaged or foreign"):
        open_checkpoint(tmp_path / "file")


@pytest.mark.parametrize(
    "other", [{"model": {}}, {"format": 1}, {"format": 2}, [1, 2], {"state_dict": {}, "epoch": 3}]
)
def test_another_projects_checkpoint_is_refused(tmp_path, other):
    with pytest.raises(ValueError, match=r"is not a checkpoint of this project|no config of a run"):
        open_checkpoint(save(other, tmp_path))


def begun(consumed: int = 4, steps: int = 2) -> dict:
    """A checkpoint by hand that a fit could go on with."""
    total = {"ready": consumed, "completed": consumed}
    optimizer = {"step": {"total": {"ready": steps, "completed": steps}}}
    loop = {"epoch_loop.batch_progress": {"total": total}}
    loop["epoch_loop.automatic_optimization.optim_progress"] = {"optimizer": optimizer}
    return content(trained()) | {
        "callbacks": {"Run": {"bytes": 0, "metrics": {}}}, "consumed": 4, "epoch": 0, "seed": 0,
        "loops": {"fit_loop": loop}, "lr_schedulers": [],
        "optimizer_states": [{"param_groups": [{"base_lr": 0.1, "lr_factor": 1.0}], "state": {}}],
        "pytorch-lightning_version": "2.6.6", "validated": -1, "global_step": 2,
    }  # fmt: skip


def test_what_a_fit_goes_on_with_is_there(tmp_path):
    file = save(begun(), tmp_path)
    assert open_checkpoint(file, whole=True)["consumed"] == 4
    for key in begun().keys() - {"format"}:
        for value in (None, "x" if key != "config" else 3, True):
            broken = begun() | {key: value}
            if value is None:
                del broken[key]
            if key == "pytorch-lightning_version" and value == "x":
                continue  # a word, which Lightning reads
            with pytest.raises(ValueError, match=f"last.ckpt is damaged or foreign .no {key} of"):
                open_checkpoint(save(broken, tmp_path), whole=True)


@pytest.mark.parametrize(
    "change",
    [
        {"consumed": 10**12}, {"consumed": -1}, {"global_step": 3}, {"loops": {}},
        {"callbacks": {}}, {"callbacks": {"Run": {}}}, {"optimizer_states": [1]},
        {"optimizer_states": []}, {"optimizer_states": [{"param_groups": [{"lr": 1}]}]},
        {"pytorch-lightning_version": "0.0.1"},
        {"callbacks": {"Run": {"bytes": -5, "metrics": {}}}},
        {"loops": {"fit_loop": [1]}}, {"callbacks": {"Run": {"bytes": 0, "metrics": 3}}},
    ],
)  # fmt: skip
def test_counters_that_disagree_are_no_place_to_go_on_from(tmp_path, change):
    with pytest.raises(ValueError, match=r"damaged or foreign \(its counters disagree\)"):
        open_checkpoint(save(begun() | change, tmp_path), whole=True)


def test_weights_that_do_not_fit_their_own_settings_are_named(tmp_path):
    stored = content(trained())
    stored["state_dict"]["objective.encoder.cls_token"] = torch.zeros(2)
    with pytest.raises(ValueError, match=r"weights in .*last\.ckpt do not fit its own .*cls_token"):
        load_into(small_vit(), stored_encoder(save(stored, tmp_path)), channels=1)


@pytest.mark.parametrize("change", [{"classes": [1, 2]}, {"mean": ["x"]}, {"image_size": ["a", 2]}])
def test_a_damaged_data_description_is_one_line(tmp_path, change):
    stored = content(trained())
    stored["encoder"]["spec"] |= change
    with pytest.raises(ValueError, match=r"damaged or foreign \(its encoder's description: "):
        stored_encoder(save(stored, tmp_path))


def test_one_flipped_bit_is_noticed(tmp_path):
    encoder = trained()
    file = save(content(encoder), tmp_path)
    weight = encoder.patch_embed.proj.weight.detach().numpy().tobytes()
    whole = bytearray(file.read_bytes())
    at = whole.find(weight)
    assert at > 0
    whole[at + 5] ^= 1
    file.write_bytes(whole)
    torch.load(file, weights_only=True)  # torch itself sees nothing
    with pytest.raises(ValueError, match="wrong checksum of"):
        open_checkpoint(file)


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    trap = tmp_path / "ran"
    file = save({"format": 1, "planted": Planted(trap)}, tmp_path)
    with pytest.raises(ValueError, match="damaged or foreign"):
        open_checkpoint(file)
    assert not trap.exists()
    torch.load(file, weights_only=False)  # and it is not an empty threat
    assert trap.is_dir()
