"""The Vision Transformer.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929, section 3, equations
1-4 and appendix B; initialisation, GELU and dropout as in the authors' JAX code.
Differs from it: registers (Darcet et al., arXiv:2309.16588), drop path and LayerScale (Touvron et
al., arXiv:2103.17239) are there and off; no tanh layer in front of the head. Parameters carry
timm's names.

B batch, C channels, N patches, T tokens, D width, A heads, d width of a head.
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import DataSpec
from vit.models.base import Features, TokenEncoder
from vit.patches import Resize, grid_of, resize_grid, sincos

SIZES = {  # depth, width, MLP width, heads: paper table 1; Ti, S and beyond: paper.md of big_vision
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


def lecun_normal_(weight: Tensor, fan_in: int) -> None:
    """Flax's default: variance 1 / fan_in, cut at two deviations and rescaled for the cut."""
    std = fan_in**-0.5 / 0.87962566103423978  # deviation of a unit normal cut at +-2
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def follow_image(image_size: tuple[int, int]) -> int:
    """The patch size for an image: 2 up to 16 px, 4 up to 64 px, 16 above (shorter side)."""
    side = min(image_size)
    return 2 if side <= 16 else 4 if side <= 64 else 16


class PatchEmbed(nn.Module):
    """Cut into patches and map each linearly to D numbers; one strided convolution does both."""

    def __init__(self, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        lecun_normal_(self.proj.weight, fan_in=self.proj.weight[0].numel())
        nn.init.zeros_(self.proj.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)  # B N D


class Attention(nn.Module):
    """Multi-head self-attention; no dropout on the weights, which keeps the fused kernels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # Xavier for q, k and v each: over the fused matrix the deviation would be sqrt(2) too small
        for weight in self.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(weight)
        nn.init.xavier_uniform_(self.proj.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # B A T d
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """Two linear layers with GELU between; dropout after each (paper, appendix B.1)."""

    def __init__(self, width: int, hidden: int, gelu: str, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh" if gelu == "tanh" else "none")
        self.fc2 = nn.Linear(hidden, width)
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class DropPath(nn.Module):
    """Skip a residual branch for a random share of the images, and scale up the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(len(x), 1, 1, device=x.device) >= self.rate
        return x * (keep / (1 - self.rate)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


class LayerScale(nn.Module):
    """A learned factor a channel on a residual branch."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.start = start
        self.gamma = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.gamma, self.start)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(
        self, width: int, heads: int, hidden: int, *, gelu: str, norm_eps: float, dropout: float,
        drop_path: float, layer_scale: float | None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = MLP(width, hidden, gelu, dropout)
        self.ls2 = LayerScale(width, layer_scale) if layer_scale else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.ls1(self.drop(self.attn(self.norm1(x)))))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class ViT(TokenEncoder):
    """A Vision Transformer for images of any size that its patch divides.

    Args:
        spec: the data's image size and channels.
        size: a named size with or without its patch, "B/16" or "B": mu Ti S M B L So400m H g G.
            null: width, depth and heads are given.
        width: D; overrides the named size, like the next four.
        depth: number of blocks.
        heads: attention heads; they must divide the width. Given only a width: width / 64.
        mlp_width: hidden width of the MLP; 4 x width where the size does not say.
        patch_size: pixels; null follows the name, else the image: 2 up to 16 px, 4 up to 64, 16.
        class_token: learn a token that the head may read.
        registers: extra learned tokens that nobody reads.
        pool: what the head reads: the class token, or the mean of the patches.
        position: a learned table (paper) or a fixed sine-cosine one.
        resize: how positions are resampled for another grid. Paper: bilinear_corners.
        gelu: tanh is what the paper's code computes; timm and torchvision use exact.
        norm_eps: LayerNorm's epsilon. Paper: 1e-6.
        dropout: after positions, attention and both MLP layers. Paper: 0.1 on ImageNet, else 0.
        drop_path: rate of the last block, rising linearly from 0. Paper: none.
        layer_scale: start value of LayerScale; null: none.
    """

    FREE: ClassVar[tuple[str, ...]] = ("pool", "dropout", "drop_path", "resize")

    def __init__(
        self,
        spec: DataSpec,
        size: str | None = None,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        mlp_width: int | None = None,
        patch_size: int | None = None,
        class_token: bool = True,
        registers: int = 0,
        pool: Literal["cls", "mean"] = "cls",
        position: Literal["learned", "sincos"] = "learned",
        resize: Resize = "bilinear_corners",
        gelu: Literal["tanh", "exact"] = "tanh",
        norm_eps: float = 1e-6,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        shape = _shape(size, width, depth, heads, mlp_width, patch_size)
        self.width, self.depth, self.heads = shape["width"], shape["depth"], shape["heads"]
        self.patch_size = shape["patch_size"] or follow_image(spec.image_size)
        if pool == "cls" and not class_token:
            raise ValueError("ViT: pool: cls needs class_token: true; or set pool: mean")
        self.settings = shape | {
            "patch_size": self.patch_size, "class_token": class_token, "registers": registers,
            "pool": pool, "position": position, "resize": resize, "gelu": gelu,
            "norm_eps": norm_eps, "dropout": dropout, "drop_path": drop_path,
            "layer_scale": layer_scale,
        }
        self.grid = grid_of(*spec.image_size, self.patch_size)
        self.pooling, self.resize = pool, resize
        self.front = int(class_token) + registers  # tokens before the patches

        self.patch_embed = PatchEmbed(spec.channels, self.patch_size, self.width)
        token = (1, 1, self.width)
        self.cls_token = nn.Parameter(torch.empty(token)) if class_token else None
        self.reg_token = nn.Parameter(torch.empty(1, registers, self.width)) if registers else None
        table = torch.empty(1, int(class_token) + math.prod(self.grid), self.width)
        if position == "learned":
            self.pos_embed = nn.Parameter(table)
        else:
            self.register_buffer("pos_embed", table)
        self.pos_drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(
            Block(
                self.width, self.heads, shape["mlp_width"], gelu=gelu, norm_eps=norm_eps,
                dropout=dropout, drop_path=drop_path * i / max(self.depth - 1, 1),
                layer_scale=layer_scale,
            )
            for i in range(self.depth)
        ))
        self.norm = nn.LayerNorm(self.width, eps=norm_eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The parameters that are the ViT's own; its parts reset theirs."""
        if self.cls_token is not None:
            nn.init.zeros_(self.cls_token)
        if self.reg_token is not None:
            nn.init.normal_(self.reg_token, std=0.02)
        if isinstance(self.pos_embed, nn.Parameter):
            nn.init.normal_(self.pos_embed, std=0.02)
        else:
            self.pos_embed.zero_()
            self.pos_embed[0, -math.prod(self.grid):] = sincos(self.grid, self.width)

    def embed(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        """One vector a patch, without position."""
        grid_of(*images.shape[-2:], self.patch_size)  # the one error message for sizes
        return self.patch_embed(images)

    def add_position(
        self, patches: Float[Tensor, "B N D"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Tell each patch where it stands; another grid gets a resampled table."""
        table = self.pos_embed[0, -math.prod(self.grid):]  # N D
        return patches + resize_grid(table, self.grid, grid or self.grid, self.resize)

    def encode(
        self,
        patches: Float[Tensor, "B N D"],
        kept: Int[Tensor, "B K"] | None = None,
        prefix: Float[Tensor, "B X D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Run the blocks over [class token, registers, prefix, patches] and normalise."""
        batch = len(patches)
        if kept is not None:
            patches = patches.gather(1, kept[..., None].expand(-1, -1, self.width))  # B K D
        front = []
        if self.cls_token is not None:
            front.append((self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1))
        if self.reg_token is not None:
            front.append(self.reg_token.expand(batch, -1, -1))
        if prefix is not None:
            front.append(prefix)
        tokens = self.pos_drop(torch.cat([*front, patches], 1))  # B T D
        return self.norm(self.blocks(tokens))

    def pool(self, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        """The class token, or the mean of the patches."""
        return tokens[:, 0] if self.pooling == "cls" else tokens[:, self.front:].mean(1)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Features:
        """All of it, from normalised images."""
        grid = grid_of(*images.shape[-2:], self.patch_size)
        tokens = self.encode(self.add_position(self.embed(images), grid))
        cls = tokens[:, 0] if self.cls_token is not None else None
        return Features(self.pool(tokens), tokens[:, self.front:], cls, grid)

    def layer_of(self, parameter: str) -> int:
        """0 for everything before the blocks, i + 1 for block i, depth + 1 for the last norm."""
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1
        return self.depth + 1 if parameter.startswith("norm.") else 0

    def blocks_to_shard(self) -> list[nn.Module]:
        """The transformer blocks."""
        return list(self.blocks)

    def adapt(self, state: dict[str, Tensor], grid: tuple[int, int] | None) -> dict[str, Tensor]:
        """Positions resampled from the checkpoint's grid to this encoder's."""
        table = state.get("pos_embed")
        if table is None or grid is None or tuple(grid) == self.grid:
            return state
        count = math.prod(grid)
        resized = resize_grid(table[0, -count:].float(), tuple(grid), self.grid, self.resize)
        return state | {"pos_embed": torch.cat([table[:, :-count], resized[None]], 1)}


def _shape(
    size: str | None, width: int | None, depth: int | None, heads: int | None,
    mlp_width: int | None, patch_size: int | None,
) -> dict[str, int | None]:
    """Resolve a named size and what overrides it; every mistake is named here."""
    shape: dict[str, int | None] = dict.fromkeys(("depth", "width", "mlp_width", "heads"))
    patch = None
    if size is not None:
        name, _, after = size.partition("/")
        if name not in SIZES or not (after == "" or after.isdigit()):
            raise ValueError(f"ViT: unknown size {size!r}; known: {' '.join(SIZES)}, as in B or B/16")
        shape = dict(zip(shape, SIZES[name], strict=True))
        patch = int(after) if after else None
    given = {"depth": depth, "width": width, "mlp_width": mlp_width, "heads": heads}
    if width is not None and size is None:
        shape["heads"] = max(width // 64, 1)
    if width is not None:
        shape["mlp_width"] = 4 * width
    shape |= {key: value for key, value in given.items() if value is not None}
    missing = [key for key, value in shape.items() if value is None]
    if missing:
        raise ValueError(f"ViT: give size (as in B/16), or {', '.join(missing)}")
    for key, value in (shape | {"patch_size": patch_size or 1}).items():
        if value < 1:
            raise ValueError(f"ViT: {key} must be at least 1, got {value}")
    if shape["width"] % shape["heads"]:
        raise ValueError(f"ViT: {shape['heads']} heads do not divide width {shape['width']}")
    return shape | {"patch_size": patch_size or patch}
