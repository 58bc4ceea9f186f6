"""Named sizes of the Vision Transformer, how a size is read, and settings that cannot be."""

SIZES = {  # depth, width, MLP width, heads: paper table 1; the others from big_vision
    "mu": (1, 32, 128, 2),
    "Ti": (12, 192, 768, 3),
    "S": (12, 384, 1536, 6),
    "M": (12, 512, 2048, 8),
    "B": (12, 768, 3072, 12),
    "L": (24, 1024, 4096, 16),
    "So400m": (27, 1152, 4304, 16),
    "H": (32, 1280, 5120, 16),
    "g": (40, 1408, 6144, 16),
    "G": (48, 1664, 8192, 16),
}


def follow_image(image_size: tuple[int, int]) -> int:
    """The patch size for an image: 2 up to 16 px, 4 up to 64 px, 16 above (shorter side)."""
    side = min(image_size)
    return 2 if side <= 16 else 4 if side <= 64 else 16


LARGEST, DEEPEST = 2**17, 1024  # twenty times what anybody has trained; more would hang or thrash


def resolve(
    size: str | None,
    width: int | None,
    depth: int | None,
    heads: int | None,
    mlp_width: int | None,
    patch_size: int | None,
) -> dict[str, int | None]:
    """The shape that a named size and what overrides it make; every mistake is named here."""
    shape: dict[str, int | None] = dict.fromkeys(("depth", "width", "mlp_width", "heads"))
    patch = None
    if size is not None:
        name, _, after = size.partition("/")
        if name not in SIZES or not (after == "" or after.isdecimal()):
            raise ValueError(
                f"ViT: unknown size {size!r}; known: {' '.join(SIZES)}, as in B or B/16"
            )
        shape = dict(zip(shape, SIZES[name], strict=True))
        patch = int(after) if after else None
    given = {"depth": depth, "width": width, "mlp_width": mlp_width, "heads": heads}
    if width is not None and size is None:
        shape["heads"] = max(width // 64, 1)
    if width is not None:
        shape["mlp_width"] = 4 * width
    shape |= {key: value for key, value in given.items() if value is not None}
    missing = [key for key in ("width", "depth") if shape[key] is None]
    if missing:
        raise ValueError(f"ViT: give size (as in B/16), or {' and '.join(missing)}")
    patch = patch if patch_size is None else patch_size
    check_shape(shape | ({} if patch is None else {"patch_size": patch}))
    return shape | {"patch_size": patch}


def check_shape(shape: dict[str, int]) -> None:
    """Refuse numbers outside what can be built, and heads that do not divide the width.

    Raises:
        ValueError: naming the first.
    """
    for key, value in shape.items():
        if value < 1:
            raise ValueError(f"ViT: {key} must be at least 1, got {value}")
        if value > LARGEST:
            raise ValueError(f"ViT: {key} must be at most {LARGEST:,}, got {value:,}")
    if shape["depth"] > DEEPEST:
        raise ValueError(f"ViT: depth must be at most {DEEPEST:,}, got {shape['depth']:,}")
    if shape["width"] % shape["heads"]:
        raise ValueError(
            f"ViT: {shape['heads']} heads do not divide width {shape['width']}; set heads"
        )


def check_regularisation(
    dropout: float,
    drop_path: float,
    registers: int,
    layer_scale: float | None,
    norm_eps: float,
) -> None:
    """Refuse what would train to NaN or mean something else than it says."""
    for name, rate in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= rate < 1:
            raise ValueError(f"ViT: {name} must be in [0, 1), got {rate}")
    if not 0 <= registers <= 1024:
        raise ValueError(f"ViT: registers must be from 0 to 1,024, got {registers}")
    if not norm_eps > 0:
        raise ValueError(f"ViT: norm_eps must be above 0, got {norm_eps}")
    if layer_scale is not None and layer_scale <= 0:
        raise ValueError(f"ViT: layer_scale must be above 0 or null, got {layer_scale}")


def check_rope(head_width: int, form: str, base: float) -> None:
    """Refuse heads that cannot be rotated, and what would rotate the wrong images."""
    if head_width % 4:
        raise ValueError(f"ViT: position: rope needs heads of a multiple of 4, got {head_width}")
    if form == "subset":
        raise ValueError("ViT: drop_path_form: subset does not go with position: rope; set image")
    if not base > 0:
        raise ValueError(f"ViT: rope_base must be above 0, got {base}")
