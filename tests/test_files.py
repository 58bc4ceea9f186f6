"""Files become batches: the right pixels, the same on any worker, and nothing lost unsaid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as published

from pictures import folder, picture
from vit.data.crops import Cut, shrinkable, shrunk
from vit.data.files import Files, Folder, Names
from vit.data.random_crop import random_boxes, random_places
from vit.data.sampling import BatchIndices
from vit.published.decode import SHRINKS, decode
from vit.randomness import keys, uniform

WHOLE, PART = Cut(16), Cut(16, (0.3, 0.9), "crop 0.0")


@pytest.fixture
def source(tmp_path) -> Folder:
    folder(tmp_path, {"a": 4, "b": 3}, width=50, height=40)
    return Folder(
        tmp_path, sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("*/*"))
    )


def files(source: Folder, *cuts: Cut, **how) -> Files:
    count = len(source)
    return Files(source, torch.arange(count), torch.arange(count) % 2, list(cuts or [WHOLE]), **how)


def resized(image: torch.Tensor, *size: int) -> torch.Tensor:
    return published.resize(image.contiguous(), list(size), antialias=True)


def test_names_come_back_as_they_went_in():
    names = ["a.jpg", "", "b/ü ß.png", "猫/c.jpg"]
    kept = Names(names)
    assert [kept[i] for i in range(len(kept))] == names


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.jpg", "a/../../x.jpg", "..", "a/.."])
def test_no_name_leads_out_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match=f"{tmp_path}: {name} leads out of its folder; name files"):
        Folder(tmp_path, ["a.jpg", name])


def test_dots_in_a_name_are_no_way_out(tmp_path):
    names = ["a..b.jpg", "...jpg", "a../b.jpg", "a/..b"]
    assert [Folder(tmp_path, names).name(i) for i in range(4)] == names


def test_a_whole_image_is_squeezed_or_its_middle_is_cut_as_torchvision_does(source):
    image = decode(source.read(0))
    assert torch.equal(files(source)[BatchIndices(None, [0])].images[0], resized(image, 16, 16))
    for size in ((40, 50), (50, 40), (33, 47)):
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
        middle = published.center_crop(published.resize(image, [18], antialias=True), [16])
        assert torch.equal(Cut(16, center_crop_ratio=16 / 18).whole(image), middle)


def test_a_crop_is_the_resized_part_of_the_image(source):
    batch = files(source, PART)[BatchIndices(3, [2, 5])]
    uniforms = uniform(keys(0, 3, torch.tensor([2, 5]), "crop 0.0"), 4)
    for row, (top, left, tall, wide) in enumerate(
        random_boxes(uniforms, torch.tensor([[40, 50]] * 2), PART.area)
    ):
        image = decode(source.read([2, 5][row]))[:, top : top + tall, left : left + wide]
        assert torch.equal(batch.images[row], resized(image, 16, 16))


def test_a_letterboxed_crop_keeps_its_shape_and_lies_in_the_middle(source):
    cut = replace(PART, fill=(9, 8, 7))
    batch = files(source, cut)[BatchIndices(3, [2])]
    uniforms = uniform(keys(0, 3, torch.tensor([2]), "crop 0.0"), 4)
    ((top, left, tall, wide),) = random_boxes(uniforms, torch.tensor([[40, 50]]), PART.area)
    sides = round(16 * tall / max(tall, wide)), round(16 * wide / max(tall, wide))
    expected = torch.tensor([9, 8, 7], dtype=torch.uint8)[:, None, None].repeat(1, 16, 16)
    down, right = (16 - sides[0]) // 2, (16 - sides[1]) // 2
    image = decode(source.read(2))[:, top : top + tall, left : left + wide]
    expected[:, down : down + sides[0], right : right + sides[1]] = resized(image, *sides)
    assert min(sides) < 16
    assert torch.equal(batch.images[0], expected)


def test_crops_differ_between_epochs_images_views_and_seeds(source):
    other = replace(PART, purpose="crop 0.1")
    first = files(source, PART, other)[BatchIndices(0, [0, 1])]
    again = files(source, PART, other)[BatchIndices(1, [0, 1])]
    assert not torch.equal(first.views[0], first.views[1])
    assert not torch.equal(first.views[0], again.views[0])
    seeded = files(source, PART)
    seeded.seed = 1
    assert not torch.equal(seeded[BatchIndices(0, [0, 1])].images, first.views[0])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_change_nothing(source, workers):
    draws = [BatchIndices(2, [0, 3]), BatchIndices(2, [6, 1]), BatchIndices(2, [5, 2])]
    loader = DataLoader(files(source, PART), sampler=draws, batch_size=None, num_workers=workers)
    expected = files(source, PART)
    for draw, batch in zip(draws, loader, strict=True):
        assert torch.equal(batch.images, expected[draw].images)
        assert batch.labels.tolist() == [i % 2 for i in draw.index]


def test_padding_is_read_from_nowhere(source):
    batch = files(source)[BatchIndices(None, [1, -1])]
    assert batch.index.tolist() == [1, -1]
    assert batch.labels.tolist() == [1, -1]
    assert not batch.images[1].any()


def test_an_unreadable_file_is_named_and_its_row_shows_the_next_or_counts_nowhere(source):
    for name in ("a/0002.jpg", "a/0003.jpg"):
        (source.root / name).write_bytes(b"no picture")
    judged = files(source)[BatchIndices(None, [1, 2, 6])]
    assert judged.index.tolist() == [1, -1, 6]
    assert [name for name, _ in judged.unread] == ["a/0002.jpg"]
    trained = files(source, replace=True)[BatchIndices(0, [1, 2, 6])]
    assert trained.index.tolist() == [1, 4, 6]
    assert trained.labels.tolist() == [1, 0, 0]
    assert [name for name, _ in trained.unread] == ["a/0002.jpg", "a/0003.jpg"]
    assert torch.equal(trained.images[1], files(source)[BatchIndices(None, [4])].images[0])


def test_where_no_file_can_be_read_the_search_ends(source):
    for name in list(source.root.glob("*/*")):
        name.write_bytes(b"no picture")
    assert files(source, replace=True)[BatchIndices(0, [0, 1])].index.tolist() == [-1, -1]


def test_a_file_that_is_gone_is_named_too(source):
    (source.root / "b/0005.jpg").unlink()
    ((name, why),) = files(source)[BatchIndices(None, [5])].unread
    assert name == "b/0005.jpg"
    assert "No such file" in why


def test_large_photographs_come_smaller_only_where_no_crop_loses_a_pixel(tmp_path):
    picture(width=400, height=300).save(tmp_path / "a.jpg", quality=95)
    large, small = Cut(100, (0.9, 1.0), "large"), Cut(30, (0.9, 1.0), "small")
    source = Folder(tmp_path, ["a.jpg"])
    for cuts in ([large], [small], [small, large]):
        plain = files(source, *cuts)[BatchIndices(0, [0])]
        quick = files(source, *cuts, shrink=True)[BatchIndices(0, [0])]
        for one, other in zip(plain.views, quick.views, strict=True):
            assert (one.int() - other.int()).abs().float().mean() < 2  # smooth picture, of 255
    assert shrinkable([(0, 0, 290, 390)], [small], SHRINKS) == 8
    assert shrinkable([(0, 0, 290, 390)] * 2, [small, large], SHRINKS) == 2
    assert shrinkable([(0, 0, 90, 390)], [large], SHRINKS) == 1
    assert shrunk((10, 20, 100, 200), 0.5, 150, 200) == (5, 10, 50, 100)
    assert shrunk((299, 399, 1, 1), 1 / 8, 38, 50) == (37, 49, 1, 1)


def test_pixels_agree_with_torchvisions_first_transforms(source):
    """Pillow's resize, as torchvision's ImageFolder pipelines use it, rounds a little otherwise."""
    batch = files(source, PART)[BatchIndices(0, list(range(7)))]
    uniforms = uniform(keys(0, 0, torch.arange(7), "crop 0.0"), 4)
    difference = []
    for row, (top, left, tall, wide) in enumerate(
        random_boxes(uniforms, torch.tensor([[40, 50]] * 7), PART.area)
    ):
        image = Image.open(source.root / source.name(row)).convert("RGB")
        part = image.crop((left, top, left + wide, top + tall)).resize((16, 16), Image.BILINEAR)
        theirs = torch.from_numpy(np.array(part)).permute(2, 0, 1)
        difference.append((theirs.int() - batch.images[row].int()).abs().float().mean())
    assert torch.stack(difference).mean() <= 0.1


def test_a_crop_of_a_fixed_ratio_is_the_resized_part_of_the_image(source):
    batch = files(source, Cut(16, purpose="crop 0.0", crop_ratio=0.8))[BatchIndices(0, [1])]
    uniforms = uniform(keys(0, 0, torch.tensor([1]), "crop 0.0"), 4)
    ((top, left, tall, wide),) = random_places(uniforms, torch.tensor([[40, 50]]), 0.8)
    image = decode(source.read(1))[:, top : top + tall, left : left + wide]
    assert torch.equal(batch.images[0], resized(image, 16, 16))
