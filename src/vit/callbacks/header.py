"""The lines that a fit prints before its first step: data, encoder, batch, length, groups."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.module import ViTModule

FEW = 50_000  # logs/records/2026-11-28_digits_all, 2026-11-28_cifar_classes: validity of each arm


class Header(Callback):
    """Print what a person should know before the first step."""

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Once, on rank 0."""
        if trainer.is_global_zero:
            print("\n".join(header_lines(trainer, pl_module)), flush=True)


def header_lines(trainer: Trainer, module: ViTModule) -> list[str]:
    """Everything that follows from the settings and the data."""
    data, encoder = trainer.datamodule, module.objective.encoder
    ranks, accumulate = trainer.world_size, trainer.accumulate_grad_batches
    per_device = data.per_device(module.loader_context())
    groups = trainer.optimizers[0].param_groups
    lr = groups[0]["base_lr"] / groups[0]["lr_factor"]
    images = module.total_steps * data.batch_size
    lines = [
        *data_lines(trainer, module),
        encoder_line(module),
        f"batch: {per_device} per device x {ranks} ranks x {accumulate} accumulated = "
        f"{data.batch_size} images a step; lr {lr:.4g} after scaling ({module.lr_scaling})",
        f"length: {module.total_steps:,} steps, {images:,} images, "
        f"{module.flops_per_image * images:.3g} FLOPs",
        *few_images(module, images),
        *filter(None, [module.length_note]),
    ]
    still = sum(p.numel() for p in encoder.parameters() if not p.requires_grad)
    if still:
        origin = "" if module.coverage else ", which nothing has trained (no model.pretrained)"
        lines.append(f"frozen: {still:,} parameters of the encoder{origin}")
    if module.consumed:
        lines.append(f"resumed at step {trainer.global_step:,}")
    elif module.coverage:
        lines.append(module.coverage)
    return lines + group_lines(groups)


def group_lines(groups: list[dict[str, Any]]) -> list[str]:
    """A line for each kind of parameters; where layers learn at rates of their own, with the range.

    Args:
        groups: of the optimiser.
    """
    kinds: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for group in groups:
        kind = group["name"].partition(", ")[2], group["base_weight_decay"]
        kinds.setdefault(kind, []).append(group)
    lines = []
    for (kind, decay), members in kinds.items():
        low, high = (pick(group["lr_factor"] for group in members) for pick in (min, max))
        factor = f"{high:.4g}" if low == high else f"{low:.4g} to {high:.4g} by layer"
        count = sum(p.numel() for group in members for p in group["params"])
        lines.append(f"group: lr x {factor}, {kind}: {count:,} parameters, weight decay {decay:g}")
    return lines


def data_lines(trainer: Trainer, module: ViTModule) -> list[str]:
    """Images of each split, their size, and what the data set has to say of itself."""
    data, spec = trainer.datamodule, module.spec
    counts = ", ".join(f"{count:,} {split}" for split, count in spec.counts.items())
    size = "x".join(map(str, (*data.spec.image_size, spec.channels)))
    return [
        f"data: {type(data).__name__}, {counts}, {size} pixels",
        *(f"data: {note}" for note in data.notes),
        *label_lines(trainer, module),
        *left_out_augmentation(trainer, module),
    ]


def label_lines(trainer: Trainer, module: ViTModule) -> list[str]:
    """A line where the objective needs a label of some rows of a batch only."""
    unlabelled = module.objective.unlabelled
    if not unlabelled:
        return []
    labels = trainer.train_dataloader.dataset.labels
    return [
        f"data: {unlabelled:.0%} of each batch without labels, from all {len(labels):,} training "
        f"images; the rest from the {int((labels >= 0).sum()):,} that have one"
    ]


def left_out_augmentation(trainer: Trainer, module: ViTModule) -> list[str]:
    """A line where the objective's targets are pixels and the data's augmentation blends them."""
    if all(view.resample for view in module.objective.views):
        return []
    augmentation = trainer.datamodule.augmentation
    names = ("degrees", "scale", "randaugment", "erasing")
    given = [name for name in names if vars(augmentation)[name]]
    if not given:
        return []
    kind = type(module.objective).__name__
    return [
        f"data: {kind} predicts pixels, so its views move by whole pixels: {', '.join(given)} of "
        "data.augmentation left out"
    ]


def encoder_line(module: ViTModule) -> str:
    """Its class, parameters and patches."""
    encoder = module.objective.encoder
    parameters = sum(p.numel() for p in encoder.parameters())
    line = f"encoder: {encoder.class_path.rpartition('.')[2]}, {parameters:,} parameters"
    patch = getattr(encoder, "patch_size", None)
    if patch:
        height, width = encoder.grid
        line += f", patches of {patch} px on a {height}x{width} grid"
    return line


def few_images(module: ViTModule, images: int) -> list[str]:
    """A line where a self-supervised run sees so few images that it may learn nothing."""
    if images >= FEW or module.objective.uses_labels:
        return []
    return [
        f"length: short for self-supervision; in our studies on small pictures 7 of 12 arms below "
        f"{FEW:,} images were no better than an untrained encoder"
    ]
