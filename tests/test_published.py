"""ImageNet, Flowers and Pets in their real layouts: published splits, the paper's hold-outs."""

import hashlib
import json
from pathlib import Path

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch.nn import functional as F
from torchvision.models import ResNet50_Weights

from builders import small_vit
from pictures import folder, picture, saved
from pinned import pin
from vit.data import Flowers102, ImageNet, ImageNet21k, OxfordPets, imagenet, oxford
from vit.data.sampling import BatchIndices
from vit.module import ViTModule
from vit.objectives.supervised import Supervised
from vit.published.folders import Flowers
from vit.published.order import published_order


@pytest.fixture(autouse=True)
def _fresh():
    for known in (imagenet.list_imagenet, imagenet.list_imagenet21k, oxford.read_published):
        known.cache_clear()


def names(data, split: str) -> list[str]:
    source, _ = data.files()
    return [source.name(i) for i in data.split_indices()[split]]


def labels(data, split: str) -> list[int]:
    return [data.files()[1][i] for i in data.split_indices()[split]]


def test_the_labels_of_flat_validation_images_are_the_published_ones():
    found = imagenet.published_labels().tolist()
    assert found[:10] == [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
    digest = hashlib.md5(",".join(map(str, found)).encode()).hexdigest()
    assert digest == "51221193898993a8ff4bd8cf91f5f75e"
    assert {found.count(label) for label in range(1000)} == {50}


def imagenet_folder(root: Path, classes: list[str], each: int = 100) -> Path:
    for wnid in classes:
        (root / "train" / wnid).mkdir(parents=True)
        for number in range(each):
            (root / "train" / wnid / f"{wnid}_{number}.JPEG").write_bytes(b"x")
    (root / "val").mkdir()
    return root


def test_a_hundredth_of_imagenet_is_held_out_in_the_published_order(tmp_path):
    root = imagenet_folder(tmp_path, ["n02", "n01"])
    folder(root / "val", {"n01": 2, "n02": 1})
    data = ImageNet(str(root))
    assert data.spec.classes == ("n01", "n02")
    assert data.spec.counts == {"train": 198, "val": 2, "test": 3}
    keys = [f"{wnid}_{i}.JPEG" for wnid in ("n01", "n02") for i in range(100)]
    order = published_order(keys, "train")
    assert [name.rpartition("/")[2] for name in names(data, "val")] == order[198:]
    assert labels(data, "test") == [0, 0, 1]
    assert len(names(ImageNet(str(root), whole=True), "train")) == 200
    assert data.spec.mean == data.spec.std == (0.5, 0.5, 0.5)
    own = ImageNet(str(root), normalisation="own").spec
    published = ResNet50_Weights.IMAGENET1K_V1.transforms()
    assert [list(own.mean), list(own.std)] == [published.mean, published.std]


def test_digests_that_decide_the_hold_out_are_the_published_ones():
    for name, digest in (("n01440764_10026.JPEG", "79e67b1504cd9c1e933df5938000a2d6"),
                         ("n15075141_54.JPEG", "c81e8fca56cd00ebaaa38892b09c5401")):  # fmt: skip
        assert hashlib.md5(f"train{name}".encode()).hexdigest() == digest


def test_flat_validation_goes_by_number(tmp_path):
    classes = [f"n{i:08d}" for i in range(1000)]
    root = imagenet_folder(tmp_path / "ILSVRC/Data/CLS-LOC", classes, 1)
    for number in (1, 2, 50_000):
        (root / f"val/ILSVRC2012_val_{number:08d}.JPEG").write_bytes(saved(picture()))
    data = ImageNet(str(tmp_path), workers=0)
    assert labels(data, "test") == [65, 970, int(imagenet.published_labels()[-1])]
    source, _ = data.files()
    assert source.read(data.split_indices()["test"][1])[:2] == b"\xff\xd8"
    few = imagenet_folder(tmp_path / "few", classes[:3])
    (few / "val/ILSVRC2012_val_00000001.JPEG").write_bytes(b"x")
    with pytest.raises(ValueError, match="needs all 1,000 classes below train, there are 3"):
        ImageNet(str(few))


def test_imagenet_21k_keeps_large_classes_and_tests_the_first_of_each(tmp_path):
    for wnid, count in (("n1", 60), ("n2", 8), ("n3", 55)):
        (tmp_path / wnid).mkdir()
        for number in range(count):
            (tmp_path / wnid / f"{wnid}_{number:03d}.JPEG").write_bytes(b"x")
    data = ImageNet21k(str(tmp_path), least=50, tested=5)
    assert data.spec.classes == ("n1", "n3")
    assert data.spec.counts == {"train": 104, "val": 1, "test": 10}
    assert names(data, "test") == [f"{w}/{w}_{i:03d}.JPEG" for w in ("n1", "n3") for i in range(5)]
    with pytest.raises(FileNotFoundError, match=r"no folder of .* holds more than 500 images"):
        ImageNet21k(str(tmp_path))


def test_what_is_not_there_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no train and val; get ILSVRC2012"):
        ImageNet(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"setid.mat is not there; get 102flowers.tgz"):
        Flowers102(root=str(tmp_path)).files()


def test_flowers_hold_out_a_tenth_in_the_published_order(tmp_path, monkeypatch):
    from scipy.io import savemat

    root = tmp_path / "flowers-102"
    folder(root / "jpg", {"": 15})
    for number in range(15):
        (root / f"jpg/{number:04d}.jpg").rename(root / f"jpg/image_{number + 1:05d}.jpg")
    savemat(root / "setid.mat", {"trnid": [list(range(1, 11))], "valid": [[11, 12]],
                                 "tstid": [[13, 14, 15]]})  # fmt: skip
    savemat(root / "imagelabels.mat", {"labels": [list(range(1, 16))]})
    pin(monkeypatch, Flowers, root / "setid.mat", root / "imagelabels.mat")
    data = Flowers102(root=str(tmp_path), workers=0)
    data.prepare_data()  # nothing is downloaded
    order = published_order([f"image_{i:05d}.jpg" for i in range(1, 11)], "train")
    assert names(data, "train") + names(data, "val") == [f"train/{key}" for key in order]
    assert len(names(data, "val")) == 1
    assert sorted(labels(data, "test")) == [12, 13, 14]
    batch = data.open("train")[BatchIndices(None, [0])]
    assert batch.labels.tolist() == [int(order[0][6:11]) - 1]
    assert data.spec.classes[0] == "pink primrose"
    assert data.spec.counts == {"train": 918, "val": 102, "test": 6149}


def test_pets_are_read_by_their_lists_and_odd_files_by_their_content(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    rows = [f"Abyssinian_{i} 1 1 1" for i in range(8)] + [
        "Egyptian_Mau_14 12 1 8",
        "beagle_2 5 2 1",
    ]
    (root / "annotations/trainval.txt").write_text("\n".join(rows))
    (root / "annotations/test.txt").write_text("pug_3 26 2 1\n")
    for row in (*rows, "pug_3"):
        kind = "PNG" if "Mau" in row else "JPEG"  # as published, under the name .jpg
        (root / f"images/{row.split()[0]}.jpg").write_bytes(
            saved(picture(mode="RGBA" if kind == "PNG" else "RGB"), kind)
        )
    data = OxfordPets(root=str(tmp_path), image_size=16, workers=0)
    data.prepare_data()
    assert len(data.spec.classes) == 37
    assert data.spec.classes[25] == "pug"
    assert labels(data, "test") == [25]
    where = {}
    for split in ("train", "val"):
        where |= dict(zip(names(data, split), labels(data, split), strict=True))
    assert where["train/Egyptian_Mau_14.jpg"] == 11
    assert where["train/beagle_2.jpg"] == 4


# ---- other labels and other images beside top-1 ----------------------------------------------


def test_original_labels_score_what_is_published_on_the_reassessed_ones():
    file = Path(timm.__file__).parent / "data/_info/imagenet_real_labels.json"
    table, labels = imagenet.read_real(file), torch.tensor(imagenet.published_labels().tolist())
    assert int(table.any(1).sum()) == 46_837
    assert int(table.gather(1, labels[:, None]).sum()) == 42_164


def test_classes_of_imagenet_v2_are_numbers_and_not_text(tmp_path):
    for name in ("10", "2", "0"):
        folder(tmp_path / "imagenetv2-matched-frequency-format-val", {name: 1})
    found = imagenet.files_by_number(next(iter(imagenet.imagenet_v2(tmp_path).values())))
    assert [name.split("/")[0] for name in found] == ["0", "2", "10"]
    assert list(imagenet.imagenet_v2(tmp_path)) == ["v2_matched_frequency"]


class Reader(Supervised):
    """Reads its answer from the red of the middle pixel: so every figure can be counted by hand."""

    def predict(self, images):
        side = images.shape[-1] // 2
        level = ((images[:, 0, side, side] * 0.5 + 0.5) * 255).round().long()
        return {"logits": F.one_hot(level, 1000).float()}


def test_one_test_reports_top_1_reassessed_labels_and_v2(tmp_path):
    classes = [f"n{i:08d}" for i in range(1000)]
    root = imagenet_folder(tmp_path, classes, 1)
    truth = imagenet.published_labels()[:4].tolist()  # 65, 970, 230, 809
    said = [65, 1, 2, 3]
    for number, red in enumerate(said, 1):
        Image.new("RGB", (32, 32), (red, 0, 0)).save(
            root / f"val/ILSVRC2012_val_{number:08d}.JPEG", "PNG"
        )
    assert truth[0] == said[0]
    real = [[7], [1, 970], [], [3]] + [[]] * 49_996
    (root / "real.json").write_text(json.dumps(real))
    for name in ("2", "10"):
        place = root / "imagenetv2-matched-frequency-format-val" / name
        place.mkdir(parents=True)
        Image.new("RGB", (32, 32), (10, 0, 0)).save(place / "a.png")
    data = ImageNet(str(root), image_size=16, workers=0, eval_batch_size=3)
    module = ViTModule(Reader, small_vit, torch.optim.SGD, spec=data.spec)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.test(module, data, verbose=False)
    assert module.results["test/accuracy"] == pytest.approx(1 / 4)
    assert module.results["test/real_accuracy"] == pytest.approx(2 / 3)  # 1 and 3 of 7, 1, 3
    assert module.results["test/v2_matched_frequency_accuracy"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    "text", ["[", "[[1]]", json.dumps([[-1]] * 50_000), json.dumps([[1000]] * 50_000), "3", "{}"]
)
def test_damaged_reassessed_labels_are_named(tmp_path, text):
    (tmp_path / "real.json").write_text(text)
    with pytest.raises(ValueError, match=r"real\.json is damaged or not the published file"):
        imagenet.read_real(tmp_path / "real.json")


@pytest.mark.parametrize(
    "name", ["n1.JPEG", "ILSVRC2012_val_1.JPEG", "ILSVRC2012_val_00050001.JPG"]
)
def test_a_validation_image_of_another_name_is_named(name):
    with pytest.raises(ValueError, match=f"{name} is no name of the published validation images"):
        imagenet.number_of(name)


@pytest.mark.parametrize("name", ["cat", "-1", "1000"])
def test_a_folder_of_imagenet_v2_that_is_no_number_is_named(tmp_path, name):
    folder(tmp_path, {"0": 1, name: 1})
    with pytest.raises(ValueError, match=f"holds {name}; its folders are called 0 to 999"):
        imagenet.files_by_number(tmp_path)
