"""torchvision's ResNet as an encoder without patch tokens: the convolutional yardstick.

Paper: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385; the stride
stands on the 3x3 convolution, as torchvision has it.
Differs from it: small images keep their resolution in the stem (3x3, stride 1, no pooling), the
usual choice for CIFAR.
"""

from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from vit.batch import DataSpec
from vit.models.base import Encoder, Features

Name = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class ResNet(Encoder):
    """A torchvision ResNet up to its global average pooling.

    Args:
        spec: the data's image size and channels.
        name: which of torchvision's.
        small_stem: 3x3 stem without pooling; null: for images up to 64 px.
    """

    def __init__(
        self,
        spec: DataSpec,
        name: Name = "resnet18",
        small_stem: bool | None = None,
    ) -> None:
        super().__init__()
        if name not in get_args(Name):  # a checkpoint's settings went through no parser
            raise ValueError(
                f"ResNet: name must be one of {', '.join(get_args(Name))}, got {name!r}"
            )
        from torchvision.models import resnet  # slow to load, and only needed here

        small = min(spec.image_size) <= 64 if small_stem is None else small_stem
        self.net = getattr(resnet, name)(weights=None, zero_init_residual=True)
        stem = (
            {"kernel_size": 3, "stride": 1, "padding": 1}
            if small
            else {"kernel_size": 7, "stride": 2, "padding": 3}
        )
        self.net.conv1 = nn.Conv2d(spec.channels, 64, bias=False, **stem)
        nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")
        if small:
            self.net.maxpool = nn.Identity()
        self.width = self.net.fc.in_features
        self.net.fc = nn.Identity()  # the head belongs to the objective
        self.depth = 4
        self.settings = {"name": name, "small_stem": small}

    def forward(self, images: Float[Tensor, "B C H W"], layers: tuple[int, ...] = ()) -> Features:
        """The features of normalised images; `layers` are numbers of stages ("stage1", ...)."""
        if not layers:
            return Features(self.net(images))
        self.check_layers(layers)
        net, between = self.net, {}
        maps = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        for number, stage in enumerate(self.blocks_to_shard(), start=1):
            maps = stage(maps)  # B D h w
            if number in layers:
                between[f"stage{number}"] = maps.flatten(2).transpose(1, 2)
        return Features(net.avgpool(maps).flatten(1), layers=between)

    def layer_of(self, parameter: str) -> int:
        """0 the stem, 1 to 4 the stages."""
        part = parameter.split(".")[1]
        return int(part.removeprefix("layer")) if part.startswith("layer") else 0

    def blocks_to_shard(self) -> list[nn.Module]:
        """The four stages."""
        return [self.net.layer1, self.net.layer2, self.net.layer3, self.net.layer4]
