"""What a classifier confuses, as pictures in TensorBoard when a fit ends.

B batch, C channels, H W pixels, L classes.
"""

import warnings

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from vit.callbacks.pictures import enlarged
from vit.callbacks.run import Run, callback_of
from vit.collectives import sum_over_ranks
from vit.module import ViTModule

MOST_NAMES = 30  # classes whose names still fit beside a matrix


class ConfusionMatrix(Callback):
    """The confusion matrix of the validation split, and its images with the largest losses.

    Args:
        images: how many, at most.
    """

    def __init__(self, images: int = 16) -> None:
        if images < 1:
            raise ValueError(f"ConfusionMatrix: images must be at least 1, got {images}")
        self.images = images

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Look at the whole split once; the images shown are those that rank 0 saw."""
        objective, data = pl_module.eval_objective, trainer.datamodule
        if not objective.uses_labels or pl_module.spec.multi_label:
            if trainer.is_global_zero:
                print("ConfusionMatrix: skipped, it needs a classifier and one label an image")
            return
        was = objective.training
        objective.eval()
        classes = len(pl_module.spec.classes)
        table = torch.zeros(classes, classes, device=pl_module.device)
        worst: list[tuple[float, Tensor]] = []
        context = pl_module.loader_context().whole_images()
        for batch in data.evaluation_loader("val", context):
            shown = data.show(batch.to(pl_module.device), context, training=False)
            logits = objective.predict(shown.images)["logits"].float()
            labelled = shown.valid & (shown.labels >= 0)
            labels, guessed = shown.labels[labelled], logits.argmax(1)[labelled]
            cells = labels * classes + guessed
            table += cells.bincount(minlength=classes**2).view(classes, classes)
            losses = F.cross_entropy(logits[labelled], labels, reduction="none")
            images = objective.pixels(shown.images[labelled])
            mistakes = (guessed != labels).nonzero().flatten().tolist()
            worst += [(float(losses[i]), images[i].cpu()) for i in mistakes]
            worst = sorted(worst, key=lambda pair: -pair[0])[: self.images]
        objective.train(was)
        table = sum_over_ranks(table).cpu()
        if trainer.is_global_zero:
            self.draw(trainer, table, worst, pl_module.spec.classes)

    def draw(
        self,
        trainer: Trainer,
        table: Tensor,
        worst: list[tuple[float, Tensor]],
        classes: tuple[str, ...],
    ) -> None:
        """Show both pictures."""
        files = callback_of(trainer, Run).files
        files.picture("pictures/confusion", draw_matrix(table, classes), trainer.global_step)
        if worst:
            images = enlarged(torch.stack([image for _, image in worst])).clamp(0, 1)
            grid = make_grid(images, nrow=8, padding=4, pad_value=1.0)
            files.picture("pictures/worst_mistakes", grid, trainer.global_step)


def draw_matrix(table: Tensor, classes: tuple[str, ...]) -> Tensor:
    """A picture (3 H W in [0, 1]): rows are labels, columns guesses, fractions of each row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to load
    from matplotlib.figure import Figure

    side = min(max(0.45 * len(classes), 4), 12)
    figure = Figure((side + 1.5, side), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    fraction = table / table.sum(1, keepdim=True).clamp(min=1)
    image = axes.imshow(fraction.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("guessed")
    axes.set_ylabel("label")
    if len(classes) <= MOST_NAMES:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
    figure.colorbar(image, label="fraction of the label's images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks
        canvas.draw()
    pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return pixels.view(height, width, 4)[..., :3].permute(2, 0, 1).float() / 255
