"""The quick start's model and data with transformers' Trainer; first_step.py runs and times it.

    python tests/benchmarks/trainer_peer.py FOLDER

FOLDER takes its output.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification


def collate(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch under the names of the model's arguments."""
    images, labels = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.stack(labels)}


def main(folder: str) -> None:
    """Train a ViT 64 wide, 4 deep, with patches of 2 px, for one step of 64 images."""
    torch.set_num_threads(1)  # as configs/quickstart.yaml
    digits = load_digits()
    images = torch.from_numpy(digits.images)[:, None].float() / 8 - 1
    model = ViTForImageClassification(ViTConfig(
        image_size=8, patch_size=2, num_channels=1, num_labels=10, hidden_size=64,
        num_hidden_layers=4, num_attention_heads=4, intermediate_size=128,
    ))  # fmt: skip
    settings = TrainingArguments(
        output_dir=folder, max_steps=1, per_device_train_batch_size=64, report_to="none",
        use_cpu=True, learning_rate=3e-3, weight_decay=0.05, optim="adamw_torch_fused",
    )  # fmt: skip
    data = TensorDataset(images, torch.from_numpy(digits.target).long())
    Trainer(model, settings, data_collator=collate, train_dataset=data).train()


if __name__ == "__main__":
    main(sys.argv[1])
