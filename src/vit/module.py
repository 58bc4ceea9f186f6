"""The one LightningModule: any encoder with any objective, stepped, logged and saved the same way.

Everything that changes during a run is a function of counters (steps done, batches consumed), so
that a killed run goes on bit for bit.

A fit, hook by hook, in the order in which Lightning calls them; a hook whose owner is not named is
in this file:

    setup                        count what a step costs, while the parameters are whole
    configure_model              shard and compile
    configure_optimizers         parameter groups, their peak values
    on_fit_start                 the length of the run, which progress is a fraction of
    on_train_start               modes; DDP's buckets; callbacks/header.py says what will happen
    on_after_batch_transfer      uint8 images to normalised views: data/lightning_hooks.py
    on_train_batch_start         the seed of dropout
    optimizer_step               the schedules; then, through the closure that it is given:
    training_step                    the objective's loss, and Lightning's backward pass
    configure_gradient_clipping      what the objective skips; the bound on the gradient
                                 and then the optimiser's step, teachers and averages
    on_train_batch_end           metrics.csv: callbacks/step_logging.py
    on_validation_epoch_start    new sums
    validation_step              what each batch adds to them
    on_validation_epoch_end      exact means over all ranks
    on_validation_end            metrics.csv again; probes and pictures: callbacks/
    on_save_checkpoint           what a file needs to be used: callbacks/checkpoints.py writes it,
                                 callbacks/keep_lineage.py adds what was learned from

Micro-batches that are only accumulated have their training_step without an optimizer_step.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from vit import lightning_workarounds as workarounds
from vit.batch import Batch, DataSpec, LoaderContext
from vit.collectives import mean_of_rows, share_statistics
from vit.ema import EMA, ema_warmup
from vit.finite import RecentLosses
from vit.flops import flops_or_nan
from vit.freed_memory import keep_freed_memory
from vit.metrics import Answers, EvalMetrics
from vit.models.base import Encoder
from vit.models.prefixes import describe_prefixes
from vit.models.weights import (
    FORMAT,
    Stored,
    adapt_positions,
    describe,
    load_into,
    stored_encoder,
)
from vit.objectives.base import Losses, Objective
from vit.optim.clipping import Clip
from vit.optim.groups import (
    check_factors,
    freeze,
    keep_frozen_in_eval,
    note_base_values,
    parameter_groups,
)
from vit.optim.lr_scaling import Scaling, scaled_lr
from vit.optim.schedules import Cosine, Schedule, set_scheduled_values
from vit.randomness import seed_generators, step_seed
from vit.sharding import shard_once


class ViTModule(LightningModule):
    """An encoder and the objective that trains it.

    Args:
        objective: what is learned from.
        encoder: what learns; null with `pretrained`: the checkpoint's own.
        optimizer: any of torch's; it is called with parameter groups.
        schedule: factor on every learning rate, as a function of progress.
        weight_decay_schedule: factor on every weight decay; null: constant.
        lr_scaling: how lr grows with the global batch: none (ViT paper), linear (per 256 images:
            MAE, DINO), sqrt (per 1024: DINOv2).
        layer_decay: learning-rate factor from each layer to the one before it.
        head_lr: learning-rate factor of everything outside the encoder.
        clip: bound on the gradient; null: none.
        ema: keep an average of the weights that forgets a fraction 1 - ema at each step; evaluation
            and later runs then read it. Paper, fine-tuning: 0.9999. null: none.
        frozen_layers: encoder layers that stay as they are, counted from the input (1: the patch
            embedding, 2: the first block too); all: only the head learns.
        compile: compile each block of the encoder; for GPUs.
        pretrained: run folder, checkpoint or released weights (docs/weights.md) whose encoder is
            the start.
        pretrained_average: start from that run's averaged weights, where it kept some (ema).
        pretrained_positions: fresh: the learned position table and class token begin as they are
            drawn, not as they were trained; small encoders fine-tune better so (docs/findings.md).
        pretrained_settings: of the checkpoint's encoder, other ones than there (dropout, drop_path
            and kin), where `encoder` is null.
        spec: linked from the data; not to be given.
    """

    def __init__(
        self,
        objective: Callable[[Encoder, DataSpec], Objective],
        encoder: Callable[[DataSpec], Encoder] | None = None,
        optimizer: Callable[[Iterable], torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Schedule | None = None,
        weight_decay_schedule: Schedule | None = None,
        lr_scaling: Scaling = "none",
        layer_decay: float = 1.0,
        head_lr: float = 1.0,
        clip: Clip | None = None,
        ema: float | None = None,
        frozen_layers: int | Literal["all"] = 0,
        compile: bool = False,  # noqa: A002  the word that people look for
        pretrained: str | None = None,
        pretrained_average: bool = True,
        pretrained_positions: Literal["kept", "fresh"] = "kept",
        pretrained_settings: dict[str, Any] | None = None,
        spec: Any = None,
    ) -> None:
        super().__init__()
        check_factors(layer_decay, head_lr, ema)
        self.build_optimizer = optimizer
        self.schedule = schedule or Cosine()
        self.weight_decay_schedule = weight_decay_schedule
        self.lr_scaling = lr_scaling
        self.layer_decay = layer_decay
        self.head_lr = head_lr
        self.clip = clip
        self.ema = ema
        self.compiled = compile

        self.seed = 0  # the run's, like its config: the command line sets both
        self.config = ""
        self.consumed = 0  # micro-batches trained on, from the start of the run
        self.validated = -1  # step of the last validation
        self.total_steps = 0
        self.length_note: str | None = None  # what the objective says of the run's length
        self.flops_per_image = 0.0
        self.coverage = ""  # what was loaded of a pre-trained encoder, in words
        self.results: dict[str, float] = {}
        self.step_losses: list[Losses] = []
        self.finite_check = RecentLosses()
        self.eval_metrics = EvalMetrics()

        stored = stored_encoder(pretrained, pretrained_average) if pretrained else None
        if pretrained_settings and encoder is not None:
            raise ValueError(
                "model.pretrained_settings: needs model.encoder: null; or set them in "
                "model.encoder and add --model.pretrained_settings null"
            )
        stored = stored and stored.with_settings(pretrained_settings or {})
        self.lineage = stored.lineage if stored else ()  # trainings behind the starting weights
        self.fresh_positions = pretrained_positions == "fresh"
        encoder, self.spec = self._encoder(encoder, stored, spec)
        self.objective = objective(encoder, self.spec)
        freeze(self.objective.encoder, frozen_layers)
        self.average = EMA(self.objective) if ema else None

    def _encoder(
        self, build: Callable[[DataSpec], Encoder] | None, stored: Stored | None, spec: DataSpec
    ) -> tuple[Encoder, DataSpec]:
        """The starting encoder, and the data with the normalisation its weights expect."""
        if stored is None:
            if build is None:
                raise ValueError("model: give an encoder, or pretrained with a run to start from")
            self.random_encoder = lambda: build(spec)
            return build(spec), spec
        self.random_encoder = lambda: (build or stored.build)(spec)
        encoder = self.random_encoder()
        fresh = encoder.POSITIONS if self.fresh_positions else ()
        self.coverage = load_into(encoder, stored, spec.channels, fresh)
        return encoder, replace(spec, mean=stored.spec.mean, std=stored.spec.std)

    def untrained_encoder(self) -> Encoder:
        """The control of probes: random weights, the same in each of a run's measurements."""
        with torch.random.fork_rng():
            torch.manual_seed(step_seed(self.seed, "untrained encoder"))
            return self.random_encoder().to(self.device)

    @property
    def eval_objective(self) -> Objective:
        """What is evaluated: the averaged weights where there are some."""
        return self.average.copy if self.average else self.objective

    def train(self, mode: bool = True) -> "ViTModule":
        """Frozen layers stay in eval mode: no dropout, no new BatchNorm statistics."""
        super().train(mode)
        keep_frozen_in_eval(self.objective.encoder)
        return self

    # ---- set-up -------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Count a step's cost while the parameters are still whole."""
        if stage == "fit" and not self.flops_per_image:
            self.flops_per_image = flops_or_nan(self.objective, self.spec)

    def configure_model(self) -> None:
        """Shard and compile, where asked for; Lightning calls this once for every verb."""
        averaged = [self.average.copy] if self.average else []
        shard_once(self, [self.objective, *averaged])
        if self.compiled:
            workarounds.compile_blocks(self.objective.encoder)
            self.compiled = False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser, with our groups; learning rates are set step by step."""
        groups = parameter_groups(self.objective, self.layer_decay, self.head_lr)
        try:
            optimizer = self.build_optimizer(groups)
        except (RuntimeError, TypeError) as error:  # settings that contradict each other
            raise ValueError(f"model.optimizer: {error}") from error
        note_base_values(
            optimizer, scaled_lr(1.0, self.trainer.datamodule.batch_size, self.lr_scaling)
        )
        return optimizer

    def on_fit_start(self) -> None:
        """The length of the run, which progress is measured by."""
        if self.objective.whole_step and self.trainer.accumulate_grad_batches > 1:
            raise ValueError(
                f"trainer: {type(self.objective).__name__} compares all images of a step, which "
                "accumulate_grad_batches would divide; set it to 1 and lower data.batch_size"
            )
        steps = self.trainer.estimated_stepping_batches
        if steps in (0, float("inf")):
            raise ValueError("trainer: give max_epochs or max_steps; schedules need the length")
        self.total_steps = int(steps)
        self.length_note = self.objective.begin(self.total_steps)
        self.trainer.fit_loop.epoch_loop.max_steps = self.total_steps  # also where epochs count
        if self.device.type == "cpu":
            keep_freed_memory()

    def on_train_start(self) -> None:
        """Lightning leaves modes as they are; frozen parts shall not train."""
        self.train()
        workarounds.settle_buckets(self)

    def zero_loss(self) -> Tensor:
        """A zero loss that depends on every parameter that learns."""
        return sum(0 * p.sum() for p in self.parameters() if p.requires_grad)

    def loader_context(self) -> LoaderContext:
        """What the data loaders need to know of this run; it is made here and nowhere else."""
        trainer = self.trainer
        return LoaderContext(
            views=self.objective.views,
            seed=self.seed,
            consumed=lambda: self.consumed,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            accumulation=trainer.accumulate_grad_batches,
            device=self.device,
            normalisation=self.spec,
            needs_labels=self.objective.uses_labels,
            unlabelled=self.objective.unlabelled,
            limit=trainer.limit_train_batches,
        )

    # ---- training -----------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]; 1 outside a fit."""
        return min(self.trainer.global_step / self.total_steps, 1.0) if self.total_steps else 1.0

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout and drop path draw from counters."""
        seed = step_seed(self.seed, "dropout", self.consumed, self.global_rank)
        seed_generators(seed, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One micro-batch."""
        losses = self.objective(batch, self.progress)
        self.consumed += 1
        self.step_losses.append(losses)
        self.finite_check.add(self.trainer.global_step, losses, batch.index)
        return losses.loss

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable | None = None
    ) -> None:
        """Set the schedules, step, and let teachers and averages follow."""
        progress = self.progress
        set_scheduled_values(optimizer, progress, self.schedule, self.weight_decay_schedule)
        optimizer.step(closure=optimizer_closure)
        self.objective.after_step(progress)
        share_statistics(self.objective)
        if self.average:
            self.average.follow(self.objective, ema_warmup(self.ema, self.trainer.global_step + 1))

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Our own bound instead of the Trainer's, which knows no per-tensor one."""
        self.objective.before_step(self.progress)
        if self.clip:
            self.clip([p for p in self.objective.parameters() if p.grad is not None])

    def take_step_metrics(self) -> dict[str, float]:
        """Means of the last step over micro-batches and ranks; every rank must call it."""
        losses, self.step_losses = self.step_losses, []
        rows = [
            {"loss": step.loss}
            | step.monitors
            | {k: v.mean() for k, v in step.per_image.items() if v.ndim == 1 and k != "loss"}
            for step in losses
        ]
        return {f"train/{name}": value for name, value in mean_of_rows(rows).items()}

    # ---- evaluation ---------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin new sums; a training loss that was not finite is reported before they are."""
        self.finite_check.check()
        self.eval_metrics = EvalMetrics(self.eval_objective.metrics())

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> Answers | None:
        """Sums, padding left out; what was answered, if classes are predicted."""
        losses, counted = self.eval_objective(batch, self.progress), batch.valid
        counted = counted & (batch.labels >= 0) if self.eval_objective.uses_labels else counted
        classifies = hasattr(self.eval_objective, "predict")
        right = losses.per_image.get("accuracy") if classifies else None
        if dataloader_idx:
            name = self.trainer.datamodule.others[dataloader_idx - 1]
            self.eval_metrics.means.add(
                {} if right is None else {f"{name}_accuracy": right}, counted
            )
            return None
        self.eval_metrics.add(
            losses.per_image, losses.monitors, losses.predicted, losses.masked, counted
        )
        index = torch.where(counted, batch.index, -1)
        return Answers(index, right, losses.predicted) if classifies else None

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Exact means over all ranks."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Exact means over all ranks, of the test split."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        values = self.eval_metrics.results(self.eval_objective.summary)
        self.results = {f"{stage}/{name}": value for name, value in values.items()}
        shown = {f"{stage}/loss", f"{stage}/accuracy"}
        for name, value in self.results.items():
            self.log(name, value, prog_bar=name in shown, logger=False, sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor, Tensor]:
        """Sample numbers, labels (B, or B L where there are several) and probabilities (B L)."""
        logits = self.eval_objective.predict(batch.images)["logits"].float()
        if self.spec.multi_label:
            return batch.index, batch.accepted, logits.sigmoid()
        return batch.index, batch.labels, logits.softmax(-1)

    # ---- checkpoints --------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is needed to use the file without any other: plain values only."""
        averaged = self.average.copy if self.average else None
        checkpoint |= {
            "format": FORMAT,
            "config": self.config,
            "seed": self.seed,
            "consumed": self.consumed,
            "validated": self.validated,
            "encoder": describe(self.objective.encoder, self.spec)
            | {"prefixes": describe_prefixes(self, self.objective, averaged)},
            "preprocessing": self.trainer.datamodule.preprocessing(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The counters, before any loader is made; positions, where images have another size."""
        self.consumed, self.validated = checkpoint["consumed"], checkpoint["validated"]
        state = checkpoint.get("state_dict")
        if state is not None:  # a sharded model was loaded before this hook
            adapt_positions(self, state, checkpoint["encoder"]["grid"])
