"""What keys and classes were called before, so that an old file gets the new name in one line."""

KEYS = {
    "centre": "center_crop_ratio",
    "crop": "crop_area",
    "frozen": "frozen_layers",
    "hidden": "mask_ratio (MAE, SimMIM) or hidden_width (DINO, IBOT, LeJEPA)",
    "part": "crop_ratio",
    "share": "teacher_weight",
    "test_share": "test_fraction",
    "val_share": "val_fraction",
}
CLASSES = {
    "Mistakes": "ConfusionMatrix",
    "vit.callbacks.Mistakes": "vit.callbacks.ConfusionMatrix",
    "vit.callbacks.mistakes.Mistakes": "vit.callbacks.ConfusionMatrix",
    "vit.lightning_seams.FullyShard": "vit.sharding.FullyShard",
    "vit.muon.Muon": "vit.optim.Muon",
}
