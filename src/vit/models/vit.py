"""The Vision Transformer.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929, section 3, equations
1-4 and appendix B; initialisation, GELU and dropout as in the authors' JAX code.
Differs from it: registers (Darcet et al., arXiv:2309.16588), drop path and LayerScale (Touvron et
al., arXiv:2103.17239) and what released encoders need (SwiGLU, normalised queries and keys, RoPE)
are there and off; no tanh layer in front of the head. Parameters carry timm's names.

B batch, C channels, H W pixels, N patches, K kept patches, T tokens, X prefix tokens, D width,
d width of a head.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vit.batch import DataSpec
from vit.models.base import Features, TokenEncoder
from vit.models.block import MLP, Attention, Block, DropPath, DropPathForm, PatchEmbed, SwiGLU
from vit.models.sizes import check_regularisation, check_rope, follow_image, resolve
from vit.patches import Resize, grid_of, resize_grid, rope, sincos


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
        position: a learned table (paper) or a fixed sine-cosine one; rope: none is added, each
            block rotates queries and keys (DINOv3).
        resize: how positions are resampled for another grid. Paper: bilinear_corners. reset: a
            checkpoint of another grid leaves them as they are drawn, for comparison.
        gelu: tanh is what the paper's code computes; timm and torchvision use exact.
        norm_eps: LayerNorm's epsilon. Paper: 1e-6.
        dropout: after positions, attention and both MLP layers. Paper: 0.1 on ImageNet, else 0.
        drop_path: rate of the last block, rising linearly from 0. Paper: none.
        drop_path_form: image: each image is skipped by its own draw; subset: so many are, and not
            computed at all (DINOv2), which saves time from rates of about 0.2 on. The number is
            rounded: of a micro-batch of B images a rate below 1 / 2B leaves none out.
        layer_scale: start value of LayerScale; null: none.
        mlp: two layers with GELU between, or gated as in the giant DINOv2.
        qk_norm: a LayerNorm of each head's queries and keys.
        norm: where the last LayerNorm stands: over the tokens, or over the pooled vector alone, as
            in MAE's and BEiT's fine-tuned models.
        rope_base: of RoPE's frequencies. DINOv3: 100.
    """

    STEPS: ClassVar[tuple[str, ...]] = (*TokenEncoder.STEPS, "encode_with_layers")
    FREE: ClassVar[tuple[str, ...]] = ("pool", "dropout", "drop_path", "drop_path_form", "resize")
    POSITIONS: ClassVar[tuple[str, ...]] = ("cls_token", "pos_embed")

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
        position: Literal["learned", "sincos", "rope"] = "learned",
        resize: Resize | Literal["reset"] = "bilinear_corners",
        gelu: Literal["tanh", "exact"] = "tanh",
        norm_eps: float = 1e-6,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        drop_path_form: DropPathForm = "image",
        mlp: Literal["gelu", "swiglu"] = "gelu",
        qk_norm: bool = False,
        norm: Literal["tokens", "pooled"] = "tokens",
        rope_base: float = 100.0,
    ) -> None:
        super().__init__()
        shape = resolve(size, width, depth, heads, mlp_width, patch_size)
        self.width = shape["width"]
        self.depth = shape["depth"]
        self.heads = shape["heads"]
        self.patch_size = shape["patch_size"] or follow_image(spec.image_size)
        if pool == "cls" and not class_token:
            raise ValueError("ViT: pool: cls needs class_token: true; or set pool: mean")
        check_regularisation(dropout, drop_path, registers, layer_scale, norm_eps)
        if position == "rope":
            check_rope(self.width // self.heads, drop_path_form, rope_base)
        self.settings = shape | {
            "patch_size": self.patch_size,
            "class_token": class_token,
            "registers": registers,
            "pool": pool,
            "position": position,
            "resize": resize,
            "gelu": gelu,
            "norm_eps": norm_eps,
            "dropout": dropout,
            "drop_path": drop_path,
            "layer_scale": layer_scale,
            "drop_path_form": drop_path_form,
            "mlp": mlp,
            "qk_norm": qk_norm,
            "norm": norm,
            "rope_base": rope_base,
        }
        self.grid = grid_of(*spec.image_size, self.patch_size)
        self.pooling = pool
        self.resize = resize
        self.front = int(class_token) + registers  # tokens before the patches

        self.patch_embed = PatchEmbed(spec.channels, self.patch_size, self.width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, self.width)) if class_token else None
        self.reg_token = nn.Parameter(torch.empty(1, registers, self.width)) if registers else None
        table = torch.empty(1, int(class_token) + math.prod(self.grid), self.width)
        if position == "learned":
            self.pos_embed = nn.Parameter(table)
        else:
            self.register_buffer("pos_embed", table if position == "sincos" else None)
        self.pos_drop = nn.Dropout(dropout)
        rates = [drop_path * i / max(self.depth - 1, 1) for i in range(self.depth)]
        self.blocks = nn.Sequential(*(self._block(DropPath(r, drop_path_form)) for r in rates))
        last = nn.LayerNorm(self.width, eps=norm_eps)
        self.norm, self.fc_norm = (
            (last, nn.Identity()) if norm == "tokens" else (nn.Identity(), last)
        )
        self.reset_parameters()

    def _block(self, drop_path: DropPath) -> Block:
        width, of = self.width, self.settings
        attention = Attention(width, self.heads, of["norm_eps"] if of["qk_norm"] else None)
        if of["mlp"] == "gelu":
            mlp = MLP(width, of["mlp_width"], of["gelu"], of["dropout"])
        else:
            mlp = SwiGLU(width, of["mlp_width"], of["dropout"])
        settings = {key: of[key] for key in ("norm_eps", "dropout", "layer_scale")}
        return Block(width, attention, mlp, drop_path=drop_path, **settings)

    def reset_parameters(self) -> None:
        """Reset the parameters that belong to no part; the parts reset theirs."""
        if self.cls_token is not None:
            nn.init.zeros_(self.cls_token)
        if self.reg_token is not None:
            nn.init.normal_(self.reg_token, std=0.02)
        if isinstance(self.pos_embed, nn.Parameter):
            nn.init.normal_(self.pos_embed, std=0.02)
        elif self.pos_embed is not None:
            self.pos_embed.zero_()
            self.pos_embed[0, -math.prod(self.grid) :] = sincos(self.grid, self.width)

    def embed(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        """One vector per patch, without position."""
        grid_of(*images.shape[-2:], self.patch_size)  # the one error message for sizes
        return self.patch_embed(images)

    def add_position(
        self, patches: Float[Tensor, "B N D"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Tell each patch where it stands; for another grid a learned table is resampled."""
        grid = grid or self.grid
        if self.pos_embed is None:
            return patches
        if grid != self.grid and self.settings["position"] == "sincos":
            return patches + sincos(grid, self.width).to(self.pos_embed)
        table = self.pos_embed[0, -math.prod(self.grid) :]  # N D
        rule = "bilinear_corners" if self.resize == "reset" else self.resize
        return patches + resize_grid(table, self.grid, grid, rule)

    def encode(
        self,
        patches: Float[Tensor, "B N D"],
        kept: Int[Tensor, "B K"] | None = None,
        prefix: Float[Tensor, "B X D"] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Run the blocks over [class token, registers, prefix, patches] and normalise.

        RoPE needs the patches' grid where it is not the encoder's.
        """
        tokens = self.sequence(patches, kept, prefix)
        if self.settings["position"] != "rope":
            return self.norm(self.blocks(tokens))
        rotation = self.rotation(patches, kept, tokens.shape[1], grid or self.grid)
        for block in self.blocks:
            tokens = block(tokens, rotation)
        return self.norm(tokens)

    def rotation(
        self,
        patches: Float[Tensor, "B N D"],
        kept: Int[Tensor, "B K"] | None,
        tokens: int,
        grid: tuple[int, int],
    ) -> Float[Tensor, "2 *_B T d"]:
        """RoPE's cosines and sines for the (kept) patches; tokens before them are not rotated."""
        if patches.shape[1] != math.prod(grid):
            raise ValueError(f"ViT: RoPE needs the grid of {patches.shape[1]} patches, got {grid}")
        table = rope(grid, self.width // self.heads, self.settings["rope_base"]).to(patches.device)
        if kept is not None:
            table = table[:, kept][:, :, None]  # 2 B 1 K d
        front = torch.zeros(*table.shape[:-2], tokens - table.shape[-2], table.shape[-1])
        front[0] = 1  # a cosine: no rotation
        return torch.cat([front.to(table), table], -2)

    def sequence(
        self,
        patches: Float[Tensor, "B N D"],
        kept: Int[Tensor, "B K"] | None = None,
        prefix: Float[Tensor, "B X D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """What the first block reads: [class token, registers, prefix, (kept) patches]."""
        batch = patches.shape[0]  # len() would fix it when the model is traced
        if kept is not None:
            patches = patches.gather(1, kept[..., None].expand(-1, -1, self.width))  # B K D
        front = []
        if self.cls_token is not None:
            position = 0 if self.pos_embed is None else self.pos_embed[:, :1]
            front.append((self.cls_token + position).expand(batch, -1, -1))
        if self.reg_token is not None:
            front.append(self.reg_token.expand(batch, -1, -1))
        if prefix is not None:
            front.append(prefix)
        return self.pos_drop(torch.cat([*front, patches], 1))

    def pool(self, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        """The class token, or the mean of the patches."""
        pooled = tokens[:, 0] if self.pooling == "cls" else tokens[:, self.front :].mean(1)
        return self.fc_norm(pooled)

    def forward(self, images: Float[Tensor, "B C H W"], layers: tuple[int, ...] = ()) -> Features:
        """The features of normalised images; `layers` are numbers of blocks ("block1", ...)."""
        grid = grid_of(*images.shape[-2:], self.patch_size)
        patches = self.add_position(self.embed(images), grid)
        if layers:
            tokens, between = self.encode_with_layers(patches, layers, grid)
        else:
            tokens, between = self.encode(patches, grid=grid), None
        cls = tokens[:, 0] if self.cls_token is not None else None
        if torch.compiler.is_exporting():
            grid = None  # a graph gives tensors only
        return Features(self.pool(tokens), tokens[:, self.front :], cls, grid, between)

    def encode_with_layers(
        self,
        patches: Float[Tensor, "B N D"],
        layers: tuple[int, ...],
        grid: tuple[int, int] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], dict[str, Float[Tensor, "B T D"]]]:
        """The tokens that `encode` returns, and those after some blocks, not normalised."""
        self.check_layers(layers)
        tokens, between, rotation = self.sequence(patches), {}, None
        if self.settings["position"] == "rope":
            rotation = self.rotation(patches, None, tokens.shape[1], grid or self.grid)
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, rotation)
            if number in layers:
                between[f"block{number}"] = tokens
        return self.norm(tokens), between

    def layer_of(self, parameter: str) -> int:
        """0 for everything before the blocks, i + 1 for block i, depth + 1 for the last norm."""
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1
        return self.depth + 1 if parameter.startswith(("norm.", "fc_norm.")) else 0

    def blocks_to_shard(self) -> list[nn.Module]:
        """The transformer blocks."""
        return list(self.blocks)

    def adapt(
        self, state: Mapping[str, Tensor], grid: tuple[int, int] | None
    ) -> Mapping[str, Tensor]:
        """Learned positions resampled from the checkpoint's grid to this encoder's."""
        if "pos_embed" not in state or grid is None or tuple(grid) == self.grid:
            return state
        table = state["pos_embed"]
        if self.settings["position"] == "sincos":
            return state | {"pos_embed": self.pos_embed}
        count = math.prod(grid)
        if self.resize == "reset":
            drawn = self.pos_embed[:, -math.prod(self.grid) :]
            return state | {"pos_embed": torch.cat([table[:, :-count], drawn], 1)}
        resized = resize_grid(table[0, -count:].float(), tuple(grid), self.grid, self.resize)
        return state | {"pos_embed": torch.cat([table[:, :-count], resized[None]], 1)}
