"""One picture as evaluation shows it: what a trained model needs to see anything else.

C channels, H W pixels of the picture, h w those that the model sees.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from vit.batch import DataSpec
from vit.data.crops import Cut, Interpolation, letterbox_colour
from vit.data.normalisation import normalise
from vit.data.transforms import resize
from vit.published.decode import decode, rgb


@dataclass(frozen=True)
class Preprocessing:
    """The evaluation transform of a data set, for single pictures.

    Args:
        spec: size, channels and normalisation that the model expects.
        center_crop_ratio: show the middle square, so large a fraction of the short side; None: the
            whole picture, squeezed.
        interpolation: of the resize, always antialiased.
        apply_exif_and_alpha: turn as the EXIF tag says, put transparency over white.
        rounded: resized pixels are whole numbers, as of data sets of files; else they stay float.
        letterbox: the picture keeps its shape, in a square of the mean colour; pixels are whole
            numbers then.
    """

    spec: DataSpec
    center_crop_ratio: float | None = None
    interpolation: Interpolation = "bilinear"
    apply_exif_and_alpha: bool = False
    rounded: bool = False
    letterbox: bool = False

    def __post_init__(self) -> None:
        if self.letterbox and self.center_crop_ratio is not None:
            raise ValueError(
                "Preprocessing: letterbox shows the whole picture; leave center_crop_ratio out"
            )
        if self.letterbox and self.spec.channels != 3:
            raise ValueError(
                f"Preprocessing: letterbox needs 3 channels, the model sees {self.spec.channels}"
            )

    def __call__(self, picture: Image.Image | str | Path) -> Float[Tensor, "C h w"]:
        """Normalised pixels of a picture, or of the file that holds it.

        Raises:
            ValueError: it is no picture.
            FileNotFoundError: there is no such file.
        """
        pixels = self.pixels(picture)  # C H W, uint8
        size = tuple(self.spec.image_size)
        if self.rounded or self.letterbox:
            cut = Cut(
                size[0],
                center_crop_ratio=self.center_crop_ratio,
                interpolation=self.interpolation,
                fill=letterbox_colour(self.spec.mean) if self.letterbox else None,
            )
            pixels = cut.whole(pixels)
        elif tuple(pixels.shape[-2:]) != size:
            return normalise(resize(pixels[None].float() / 255, size), self.spec)[0]
        return normalise(pixels[None], self.spec)[0]

    def pixels(self, picture: Image.Image | str | Path) -> UInt8[Tensor, "C H W"]:
        """The decoded picture, as its data set would hold it."""
        if isinstance(picture, str | Path) and self.spec.channels == 3:
            try:
                return decode(Path(picture).read_bytes(), self.apply_exif_and_alpha)
            except ValueError as error:
                raise ValueError(f"{picture} {error}") from error
        opened = picture if isinstance(picture, Image.Image) else Image.open(picture)
        turned = ImageOps.exif_transpose(opened) if self.apply_exif_and_alpha else opened
        if self.spec.channels == 1:
            return torch.from_numpy(np.array(turned.convert("L")))[None]
        if self.spec.channels != 3:
            raise ValueError(
                f"preprocess: the model sees {self.spec.channels} channels, a picture has 3 or 1; "
                "give features() or predict() tensors instead"
            )
        return torch.from_numpy(np.array(rgb(turned, self.apply_exif_and_alpha))).permute(2, 0, 1)
