"""What every encoder offers, and what one with patch tokens offers besides.

B batch, C channels, H W pixels, h w grid, N = h w patches, K kept patches, D width, T tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn


class Features(NamedTuple):
    """What an encoder makes of images, by name (a tuple, so that sharding sees its tensors).

    Views of one tensor: read them, change none in place.

    Args:
        pooled: B D, the vector that a probe reads.
        tokens: B N D, one vector per patch; None for encoders without patches.
        cls: B D, the class token; None where there is none.
        grid: rows and columns of the patches; None without patches, and in a traced graph, whose
            outputs are tensors only.
        layers: intermediate layers by name, as they were asked for; None where none was. A ViT's
            "block3" is B T D, prefix tokens and patches after its third block and before the last
            norm; a ResNet's "stage2" is B N D, the map after its second stage in raster order.
    """

    pooled: Float[Tensor, "B D"]
    tokens: Float[Tensor, "B N D"] | None = None
    cls: Float[Tensor, "B D"] | None = None
    grid: tuple[int, int] | None = None
    layers: dict[str, Float[Tensor, "B _t _d"]] | None = None


class Encoder(nn.Module, ABC):
    """Images to one vector each.

    A subclass sets `width` (D), `depth` (blocks, for layer-wise learning rates) and `settings`
    (the resolved constructor arguments after the DataSpec: plain values that rebuild it from a
    checkpoint).
    """

    width: int
    depth: int
    settings: dict[str, Any]
    STEPS: ClassVar[tuple[str, ...]] = ()  # public methods besides forward that run parameters
    FREE: ClassVar[tuple[str, ...]] = ()  # settings that may change between pre-training and use
    POSITIONS: ClassVar[tuple[str, ...]] = ()  # tensors that say where, not what

    def __init__(self) -> None:
        super().__init__()
        # set here, because sharding later gives the object a class of another name
        self.class_path = f"{type(self).__module__}.{type(self).__qualname__}"

    @abstractmethod
    def forward(self, images: Float[Tensor, "B C H W"], layers: tuple[int, ...] = ()) -> Features:
        """The features of normalised images.

        Args:
            images: any size that the encoder takes.
            layers: intermediate layers to return too, counted from 1 to `depth`.
        """

    def check_layers(self, layers: tuple[int, ...]) -> None:
        """Refuse layers that are not there.

        Raises:
            ValueError: naming the first.
        """
        for number in layers:
            if not 1 <= number <= self.depth:
                name = self.class_path.rpartition(".")[2]
                raise ValueError(f"{name}: layers must be from 1 to {self.depth}, got {number}")

    @abstractmethod
    def layer_of(self, parameter: str) -> int:
        """Which layer a parameter belongs to: 0 the input, 1 to depth the blocks, then the end."""

    @abstractmethod
    def blocks_to_shard(self) -> list[nn.Module]:
        """Parts that are gathered one at a time when the encoder is sharded."""

    def adapt(
        self, state: Mapping[str, Tensor], grid: tuple[int, int] | None
    ) -> Mapping[str, Tensor]:
        """A checkpoint's tensors made to fit this encoder (resized positions, say)."""
        return state


class TokenEncoder(Encoder):
    """An encoder with one token a patch, whose steps objectives compose."""

    STEPS = ("embed", "add_position", "encode", "pool")
    grid: tuple[int, int]  # rows and columns at the data's own image size
    patch_size: int
    local_embedding: bool = True  # does a patch's embedding see that patch alone?

    @abstractmethod
    def embed(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        """One vector per patch, without position."""

    @abstractmethod
    def add_position(
        self, patches: Float[Tensor, "B N D"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Add to each patch where it stands; grid: where it is not the encoder's."""

    @abstractmethod
    def encode(
        self,
        patches: Float[Tensor, "B N D"],
        kept: Int[Tensor, "B K"] | None = None,
        prefix: Float[Tensor, "B X D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Run the blocks over the class token, registers, `prefix`, and the (kept) patches."""

    @abstractmethod
    def pool(self, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        """One vector per image from what `encode` returned (without an extra prefix)."""
