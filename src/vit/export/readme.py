"""The page beside an export: what the model is, how it was made, what it reached, how to use it."""

from vit.export.provenance import MADE_BY, Provenance
from vit.export.subject import Subject
from vit.models.weights.card import Card

USE = {
    "onnx": """\
`python example.py picture.jpg` needs onnxruntime, Pillow and NumPy. The input `images` is uint8, \
RGB, B x H x W x 3 of any size: resizing and normalisation are inside, do neither before.""",
    "torch-export": """\
```python
model = torch.export.load("model.pt2").module()
answers = model(images)  # uint8, RGB, B x H x W x 3 of any size
```
Resizing and normalisation are inside, do neither before.""",
    "safetensors": """\
```python
model = vit.load("model.safetensors")  # of this project
chances = model.predict(["a.jpg", "b.png"])
```
Architecture, normalisation and classes stand in the file's header.""",
    "timm": """\
```python
model = timm.create_model("local-dir:<this folder>", pretrained=True)
shown = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
answers = model.eval()(shown(Image.open("a.jpg").convert("RGB"))[None])
```""",
    "huggingface": """\
```python
model = AutoModel{ending}.from_pretrained("<this folder>")
processor = AutoImageProcessor.from_pretrained("<this folder>")
answers = model(**processor(Image.open("a.jpg").convert("RGB"), return_tensors="pt"))
```""",
}


def model_card(subject: Subject, known: Provenance, kind: str, difference: str) -> str:
    """The page, as Markdown.

    Args:
        subject: the model.
        known: of its making.
        kind: the format.
        difference: a sentence that says how the export was verified.
    """
    parts = [
        f"# {known.card.name}",
        what_it_is(subject),
        "## Use",
        USE[kind].format(ending="ForImageClassification" if subject.classes else ""),
        what_it_sees(subject),
        "## Training",
        "\n".join(training(known)),
        "## Figures",
        "\n".join(figures(known)),
        "## Verified",
        difference,
        "## Licence",
        licence(known),
    ]
    return "\n\n".join(parts) + "\n"


def what_it_is(subject: Subject) -> str:
    """The architecture and the classes."""
    encoder = subject.answers.encoder
    count = sum(p.numel() for p in subject.answers.encoder.state_dict().values())
    kind = encoder.class_path.rpartition(".")[2]
    what = f"A {kind} of {count:,} numbers"
    if not subject.classes:
        return f"{what} without a classifier: it gives features, {encoder.width} an image."
    several = "each on its own" if subject.stored.spec.multi_label else "one of them an image"
    names = subject.classes
    listed = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return f"{what} that tells {len(names)} classes, {several}: {listed}."


def what_it_sees(subject: Subject) -> str:
    """How a picture reaches the network."""
    shown, spec = subject.preprocess, subject.stored.spec
    height, width = spec.image_size
    how = f"squeezed to {height} x {width} pixels"
    if shown.letterbox:
        how = f"fitted into {height} x {width} pixels of the mean colour"
    elif shown.center_crop_ratio is not None:
        how = (
            f"resized so that the short side is {round(height / shown.center_crop_ratio)} pixels, "
            f"and cut to the middle {height} x {width}"
        )
    turned = " Pictures are turned as their EXIF tag says, transparency lies over white."
    return (
        f"Made for pictures like those it was trained on. Each is {how} ({shown.interpolation}, "
        f"antialiased), then normalised by mean {spec.mean} and deviation {spec.std}."
        + (turned if shown.apply_exif_and_alpha else "")
    )


def training(known: Provenance) -> list[str]:
    """A line a training, the last one first."""
    lines = [f"- {trained(card)}" for card in (known.card, *known.upstream)]
    if known.seed is not None:
        lines.append(f"- Seed {known.seed}, code {known.commit or 'unknown'}.")
    return lines


def trained(card: Card) -> str:
    """What one training was."""
    labels = {True: ", with labels", False: ", without labels", None: ""}[card.uses_labels]
    images = f", {card.images:,} images" if card.images else ""
    source = f"; {card.source}" if card.source else ""
    return (
        f"{card.name}: {card.objective or 'objective unknown'} on {card.data or 'unknown data'}"
        f"{images}{labels}{source}."
    )


def figures(known: Provenance) -> list[str]:
    """A row a figure."""
    if not known.figures:
        return ["None was measured."]
    rows = ["| figure | value | protocol |", "| --- | --- | --- |"]
    for name, value in known.figures.items():
        rows.append(f"| {name} | {value:.4f} | {known.protocol_ids.get(name, '')} |")
    return rows


def licence(known: Provenance) -> str:
    """What is known of rights."""
    lines = ["The code that made this file is under the MIT licence."]
    for card in (known.card, *known.upstream):
        if card.source != MADE_BY:
            lines.append(f"Weights of {card.name}: {card.licence or 'licence unknown'}.")
    lines.append("The rights in the pictures it learned from are those of their owners.")
    return " ".join(lines)
