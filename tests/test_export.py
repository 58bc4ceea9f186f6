"""An export answers as the model does, from files, in every format; what differs is not kept."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import timm
import torch
from transformers import AutoModelForImageClassification

import vit
from builders import GREY, RGB, small_vit
from exports import FILES, subject
from vit.export import as_torch_export, extras, formats
from vit.export.as_timm import crop_of
from vit.export.extras import MissingPackage, extra
from vit.export.provenance import provenance_of
from vit.export.subject import Subject, subject_of
from vit.export.verify import ExportDifference, check_difference, largest, unchanged
from vit.export.writing import export_model
from vit.models import ResNet
from vit.models.weights import stored_encoder

KINDS = {  # settings of an encoder, and the formats that hold them
    "plain": ({}, "safetensors timm huggingface"),
    "exact_gelu": ({"gelu": "exact"}, "timm huggingface"),
    "mean": ({"pool": "mean"}, "timm huggingface"),
    "layer_scale": ({"layer_scale": 0.1}, "timm huggingface"),
    "registers": ({"registers": 3, "layer_scale": 0.1}, "timm huggingface"),
    "swiglu": ({"mlp": "swiglu", "mlp_width": 88}, "timm huggingface"),
    "sincos": ({"position": "sincos"}, "timm huggingface"),
    "siglip": ({"class_token": False, "pool": "mean", "qk_norm": True}, "safetensors timm"),
    "pooled_norm": ({"pool": "mean", "norm": "pooled"}, "timm"),
    "rope": ({"position": "rope", "norm_eps": 1e-5}, "safetensors"),
}


def exported(model: Subject, kinds: str, folder: Path) -> dict[str, ExportDifference]:
    places = {kind: folder / kind for kind in kinds.split()}
    return {one.kind: one.difference for one in export_model(model, places, [])}


@pytest.mark.parametrize("name", KINDS)
def test_others_answer_as_the_model_does_and_weights_come_back_bit_for_bit(tmp_path, name):
    settings, kinds = KINDS[name]
    model = subject(**settings)
    for difference in exported(model, kinds, tmp_path).values():
        assert difference.pictures == 12
        assert (difference.network or 0) <= 1e-6
        assert difference.files <= 5e-3  # timm's Pillow rounds pixels a little otherwise
    ours = model.answers.encoder.state_dict()
    for kind in kinds.split():
        back = stored_encoder(tmp_path / kind)
        for key, tensor in back.state.items():
            if ".ls" in key and not settings.get("layer_scale"):
                assert (tensor == 1).all()  # a Dinov2 has them in any case
            else:
                assert torch.equal(tensor, ours[key]), (kind, key)
        assert ours.keys() <= back.state.keys()
        assert back.spec.mean == model.stored.spec.mean


@pytest.mark.parametrize("kind", ["safetensors", "timm", "huggingface"])
def test_a_classifier_comes_back_with_its_classes_and_its_transform(tmp_path, kind):
    shown = FILES | {"center_crop_ratio": 0.8, "interpolation": "bicubic"}
    model = subject(shown=shown, gelu="exact")
    exported(model, kind, tmp_path)
    back = subject_of(tmp_path / kind)
    assert back.classes == ("cat", "dog", "fox")
    assert torch.equal(back.answers.weight, model.answers.weight)
    assert torch.equal(back.answers.bias, model.answers.bias)
    assert back.answers.encoder.settings["gelu"] == "exact"
    short = [round(16 / shown.center_crop_ratio) for shown in (back.preprocess, model.preprocess)]
    assert short == [20, 20]  # timm's fraction is made for its own rounding
    same = replace(back.preprocess, center_crop_ratio=0.8)
    assert same == model.preprocess


def test_a_classifier_of_several_labels_comes_back_and_answers_each_on_its_own(tmp_path):
    model = subject(replace(RGB, multi_label=True))
    exported(model, "huggingface", tmp_path)
    back = subject_of(tmp_path / "huggingface")
    assert back.stored.spec.multi_label
    assert torch.equal(back.answers.weight, model.answers.weight)
    image = torch.rand(1, 3, *RGB.image_size)
    with torch.no_grad():
        torch.testing.assert_close(back.answers(image), model.answers(image))
    loaded = vit.load(tmp_path / "huggingface")
    assert loaded.several
    assert loaded.tells_classes


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_head_comes_back_out_of_a_dinov2s_that_reads_both(tmp_path, pool):
    model = subject(registers=2, layer_scale=0.1, pool=pool)
    exported(model, "huggingface", tmp_path)
    back = subject_of(tmp_path / "huggingface")
    assert torch.equal(back.answers.weight, model.answers.weight)
    assert back.answers.encoder.settings["pool"] == pool


@pytest.mark.parametrize(
    ("shown", "classes", "spec"),
    [
        (FILES, True, RGB),
        pytest.param(FILES | {"letterbox": True}, False, RGB, marks=pytest.mark.slow),
        pytest.param(
            FILES | {"center_crop_ratio": 0.875, "interpolation": "bicubic"},
            *(True, RGB),
            marks=pytest.mark.slow,
        ),
        pytest.param({}, True, GREY, marks=pytest.mark.slow),
        pytest.param(FILES, True, replace(RGB, multi_label=True), marks=pytest.mark.slow),
    ],
    ids=["squeeze", "letterbox_features", "crop_bicubic", "digits", "several_labels"],
)
def test_graphs_answer_from_files_and_in_batches(tmp_path, shown, classes, spec):
    rope = {} if classes else {"position": "rope"}  # one encoder without a table is traced too
    model = subject(spec, shown, classes, **rope)
    for difference in exported(model, "onnx torch-export", tmp_path).values():
        assert difference.files <= 1e-5
        assert difference.batch <= 1e-5


def test_a_network_without_patches_is_exported_too(tmp_path):
    model = subject(encoder=ResNet(RGB, "resnet18", small_stem=False))
    seen = exported(model, "safetensors timm", tmp_path)
    assert all(difference.files <= 5e-3 for difference in seen.values())
    with pytest.raises(ValueError, match="timm's ResNet has no small_stem: true; --to safetensors"):
        exported(subject(encoder=ResNet(RGB)), "timm", tmp_path)
    with pytest.raises(ValueError, match=r"Hugging Face holds a ViT, this is a .*ResNet"):
        exported(model, "huggingface", tmp_path)


def test_exports_in_another_order_are_the_same_and_the_model_stays(tmp_path):
    """A defect that others had: what was exported first decides what the second one says."""
    model = subject()
    one = export_model(model, {k: tmp_path / "1" / k for k in ("timm", "huggingface")}, [])
    other = export_model(model, {k: tmp_path / "2" / k for k in ("huggingface", "timm")}, [])
    assert [x.difference for x in one] == [x.difference for x in reversed(other)]
    for file in ("timm/model.safetensors", "huggingface/model.safetensors"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_a_model_that_an_export_changed_would_be_noticed(tmp_path, monkeypatch):
    def disturbing(model: Subject, folder: Path) -> list[str]:
        model.answers.bias += 1e-6
        return ["nothing"]

    blind = formats.Format(disturbing, lambda *_: ExportDifference(None, None, None, 0), 1.0)
    monkeypatch.setitem(formats.FORMATS, "timm", blind)
    with pytest.raises(ValueError, match="the model itself answers otherwise"):
        exported(subject(), "timm", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_export_with_another_normalisation_is_not_kept(tmp_path, monkeypatch):
    honest = as_torch_export.write_torch_export

    def wrong(model: Subject, folder: Path) -> list[str]:
        spec = replace(model.preprocess.spec, mean=(0.4, 0.4, 0.4))
        return honest(replace(model, preprocess=replace(model.preprocess, spec=spec)), folder)

    kind = replace(formats.FORMATS["torch-export"], write=wrong)
    monkeypatch.setitem(formats.FORMATS, "torch-export", kind)
    with pytest.raises(ValueError, match=r"torch-export answers .* differently of encoded files"):
        exported(subject(), "torch-export", tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_written_over_and_an_older_export_is_replaced(tmp_path):
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else than an export"):
        exported(subject(), "timm", tmp_path)
    (tmp_path / "timm" / "mine.txt").unlink()
    exported(subject(), "timm", tmp_path)
    exported(subject(gelu="exact"), "timm", tmp_path)
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    assert config["model_args"]["act_layer"] == "gelu"


@pytest.mark.parametrize(
    ("settings", "kind", "setting"),
    [
        ({"position": "rope"}, "timm", "position: rope"),
        ({"norm_eps": 1e-5}, "timm", "norm_eps: 1e-05"),
        ({"qk_norm": True}, "huggingface", "qk_norm: true"),
        ({"class_token": False, "pool": "mean"}, "huggingface", "class_token: false"),
        ({"mlp": "swiglu"}, "huggingface", "SwiGLU of 128"),
        ({"registers": 1, "mlp_width": 80}, "huggingface", "mlp_width 80"),
    ],
)
def test_what_a_format_cannot_hold_is_named(tmp_path, settings, kind, setting):
    with pytest.raises(ValueError, match="--to safetensors, onnx and torch-export") as error:
        exported(subject(**settings), kind, tmp_path)
    assert f"has no {setting}" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_timm_and_transformers_open_the_folders_by_themselves(tmp_path):
    model = subject()
    exported(model, "timm huggingface", tmp_path)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours = model.answers(images)[0]
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    torch.testing.assert_close(theirs(images).softmax(-1), ours, atol=1e-6, rtol=0)
    assert theirs.pretrained_cfg["mean"] == [0.5, 0.4, 0.3]
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "huggingface").eval()
    torch.testing.assert_close(theirs(images).logits.softmax(-1), ours, atol=1e-6, rtol=0)
    assert theirs.config.id2label == {0: "cat", 1: "dog", 2: "fox"}


def test_timm_s_crop_has_our_short_side():
    shown = subject(shown=FILES | {"center_crop_ratio": 0.9}).preprocess
    large = replace(shown, spec=replace(shown.spec, image_size=(224, 224)))
    assert int(224 / crop_of(large)["crop_pct"]) == round(224 / 0.9) == 249


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackage, match=r'onnx is not installed; pip install -e "\.\[export\]"'
    ):
        extra("onnx")


def test_differences_are_taken_of_what_both_have_and_nan_is_the_largest():
    one = [[torch.tensor([0.2, 0.8]), torch.ones(3)]]
    other = [[torch.tensor([0.1, 0.9])]]
    assert largest(one, other, relative=False) == pytest.approx(0.1)
    assert largest(one, other, relative=True) == pytest.approx(0.125)
    broken = [[torch.tensor([0.2, float("nan")])]]
    with pytest.raises(ValueError, match="answers inf differently of encoded files"):
        check_difference(ExportDifference(largest(one, broken, False), None, None, 1), 0.1, "timm")


def test_what_is_not_known_of_a_model_stays_unknown(tmp_path):
    known = provenance_of(subject())
    assert known.card.name == "weights"
    assert known.seed is known.commit is None
    assert known.figures == {}
    assert unchanged(subject(), [], [])


def test_an_encoder_needs_no_wrapper_for_onnx(tmp_path):
    """Its outputs are tensors only: the grid, two numbers, stays out of a graph."""
    encoder, images = small_vit(RGB).eval(), torch.randn(5, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecations
        sides = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(
            encoder, (images[:2],), dynamo=True, dynamic_shapes=sides, verbose=False
        )
    program.save(str(tmp_path / "encoder.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    pooled, tokens, cls = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    features = encoder(images)
    assert features.grid == (8, 8)
    torch.testing.assert_close(torch.from_numpy(pooled), features.pooled, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(tokens), features.tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(cls), features.cls, atol=1e-5, rtol=0)
