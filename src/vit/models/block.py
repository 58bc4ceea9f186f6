"""The parts of a Vision Transformer: patch embedding, attention, MLP, residual block.

Paper: Dosovitskiy et al., arXiv:2010.11929, equations 1-3 and appendix B.1; initialisation as in
the authors' JAX code (flax defaults and Xavier for q, k and v each).

B batch, C channels, N patches, T tokens, D width, A heads, d width of a head, M MLP width.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DropPathForm = Literal["image", "subset"]


def lecun_normal_(weight: Tensor, fan_in: int) -> None:
    """Flax's default: variance 1 / fan_in, cut at two deviations and rescaled for the cut."""
    std = fan_in**-0.5 / 0.87962566103423978  # deviation of a unit normal cut at +-2
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


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
    """Multi-head self-attention; no dropout on the weights, which keeps the fused kernels.

    Args:
        width: D.
        heads: A.
        qk_norm_eps: epsilon of a LayerNorm of each query and key (Dehghani et al.,
            arXiv:2302.05442, section 2.1); None: they are not normalised.
    """

    def __init__(self, width: int, heads: int, qk_norm_eps: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.normed = qk_norm_eps is not None
        if qk_norm_eps is not None:
            self.q_norm = nn.LayerNorm(width // heads, eps=qk_norm_eps)
            self.k_norm = nn.LayerNorm(width // heads, eps=qk_norm_eps)
        self.proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # Xavier for q, k and v each: over the fused matrix the deviation would be sqrt(2) too small
        for weight in self.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(weight)
        nn.init.xavier_uniform_(self.proj.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Mix the tokens.

        Args:
            x: B T D.
            rotation: cosines and sines of RoPE's angles, 2 T d or 2 B 1 T d; None: none.
        """
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        # split before the axes move: the backward pass then copies less
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # B A T d
        if self.normed:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Queries or keys (B A T d) rotated: number i of a head's first half with i of its second."""
    cosine, sine = rotation
    first, second = x.chunk(2, -1)
    return (x * cosine + torch.cat([-second, first], -1) * sine).to(x.dtype)


class MLP(nn.Module):
    """Two linear layers with GELU between; dropout after each (paper, appendix B.1)."""

    def __init__(self, width: int, hidden_width: int, gelu: str, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width)
        self.act = nn.GELU(approximate="tanh" if gelu == "tanh" else "none")
        self.fc2 = nn.Linear(hidden_width, width)
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class SwiGLU(nn.Module):
    """A gated MLP (Shazeer, arXiv:2002.05202): SiLU of one linear map times another.

    As in DINOv2: both maps are one layer, the gate first; dropout stands where the MLP has it.
    """

    def __init__(self, width: int, hidden_width: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * hidden_width)
        self.fc2 = nn.Linear(hidden_width, width)
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (*self.fc1.weight.chunk(2), self.fc2.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.fc1.bias)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, linear = self.fc1(x).chunk(2, -1)  # B T M
        return self.drop(self.fc2(self.drop(F.silu(gate) * linear)))


class DropPath(nn.Module):
    """Add a residual branch for a random fraction of the images only, scaled up for the others.

    Huang et al., arXiv:1603.09382. As a subset (Oquab et al., DINOv2, arXiv:2304.07193, section 5)
    the same number of images is chosen each time and only these are computed: time and memory are
    saved in proportion. The number is compiled in, so each block is compiled separately then.

    Args:
        rate: fraction of images that goes without the branch.
        form: image: each by its own draw; subset: a number of them.
    """

    def __init__(self, rate: float, form: DropPathForm = "image") -> None:
        super().__init__()
        self.active = rate > 0
        self.fraction = rate
        self.form = form
        # a tensor: a number would be compiled in, and blocks differ in it
        self.register_buffer("rate", torch.tensor(rate), persistent=False)

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        if not self.training or not self.active:
            return x + branch(x)
        if self.form == "image":
            more = branch(x)
            keep = torch.rand(len(x), 1, 1, device=x.device) >= self.rate
            return x + more * (keep / (1 - self.rate)).to(more.dtype)
        count = max(round(len(x) * (1 - self.fraction)), 1)
        rows = torch.randperm(len(x), device=x.device)[:count]
        more = branch(x.index_select(0, rows)).to(x.dtype)
        return x.index_add(0, rows, more, alpha=len(x) / count)

    def extra_repr(self) -> str:
        return f"rate={self.fraction:.3g}, form={self.form}"


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
        self,
        width: int,
        attention: Attention,
        mlp: MLP | SwiGLU,
        *,
        norm_eps: float,
        dropout: float,
        drop_path: DropPath,
        layer_scale: float | None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = attention
        self.ls1 = LayerScale(width, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = mlp
        self.ls2 = LayerScale(width, layer_scale) if layer_scale else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.drop_path = drop_path

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        x = self.drop_path(x, partial(self.attention_branch, rotation=rotation))
        return self.drop_path(x, self.mlp_branch)

    def attention_branch(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        """The branch in which tokens read each other."""
        return self.ls1(self.drop(self.attn(self.norm1(x), rotation)))

    def mlp_branch(self, x: Tensor) -> Tensor:
        """The branch in which each token is mapped alone."""
        return self.ls2(self.mlp(self.norm2(x)))
