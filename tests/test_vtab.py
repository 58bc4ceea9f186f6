"""Raw data in its real layout, written by the libraries that usually write it; labels by hand."""

import csv
import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pictures import folder, picture, saved
from pinned import pin
from vit.data import VTAB, vtab
from vit.data.transforms import Augmentation
from vit.prepare import vtab as prepare
from vit.published import scenes
from vit.published.arrays import PatchCamelyon, SmallNorb, Svhn, plain_array, read_matrix
from vit.published.dmlab import DmLab
from vit.published.folders import Caltech101, Dtd, EuroSat, Flowers, Pets, Resisc45, Sun397
from vit.published.retinopathy import Retinopathy, levelled
from vit.published.scenes import Clevr, Kitti
from vit.published.sources import SOURCES
from vit.published.tasks import TASKS, VTABTask


def pixels(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


def test_svhn_calls_a_nought_ten_and_keeps_columns_in_order(tmp_path, monkeypatch):
    from scipy.io import savemat

    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": images, "y": np.array([[10], [3], [9], [1]])})
    pin(monkeypatch, Svhn, tmp_path / "train_32x32.mat")
    raw = Svhn(tmp_path)
    assert [raw.label("train", key) for key in raw.keys("train")] == [0, 3, 9, 1]
    assert np.array_equal(pixels(raw.image("train", 2)), images[..., 2])


def test_a_matlab_file_that_is_not_the_published_one_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("scipy.io.loadmat", lambda *_: pytest.fail("it was opened"))
    (tmp_path / "train_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"train_32x32\.mat is damaged \(md5 .*, published e26d"):
        Svhn(tmp_path).keys("train")
    (tmp_path / "setid.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"setid\.mat is damaged \(md5 .*, published a535"):
        Flowers(tmp_path).keys("train")


def hdf5(path: Path, make) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        make(h5py, file)
    return path


def test_hdf5_leads_to_no_other_file(tmp_path):
    secret = hdf5(tmp_path / "secret.h5", lambda h5py, f: f.create_dataset(
        "x", data=np.zeros((2, 96, 96, 3), np.uint8)))  # fmt: skip
    (tmp_path / "raw").write_bytes(b"s" * (2 * 96 * 96 * 3))

    def virtual(h5py, file):
        layout = h5py.VirtualLayout((2, 96, 96, 3), np.uint8)
        layout[:] = h5py.VirtualSource(secret, "x", (2, 96, 96, 3))
        file.create_virtual_dataset("x", layout)

    makers = {
        "is not there, or a link": lambda h5py, f: f.__setitem__(
            "x", h5py.ExternalLink(str(secret), "x")),
        "a link to elsewhere": lambda h5py, f: f.__setitem__("x", h5py.SoftLink("/y")),
        "is no array of this file": virtual,
        "x is no array of this": lambda h5py, f: f.create_dataset(
            "x", (2, 96, 96, 3), np.uint8, external=[(str(tmp_path / "raw"), 0, 55296)]),
        "x is float64": lambda h5py, f: f.create_dataset("x", data=np.zeros((2, 96, 96, 3))),
        "published is uint8": lambda h5py, f: f.create_dataset("x", data=np.zeros(3, np.uint8)),
    }  # fmt: skip
    for reason, make in makers.items():
        path = hdf5(tmp_path / "camelyonpatch_level_2_split_test_x.h5", make)
        with pytest.raises(ValueError, match=f"{path} is damaged or not .*{reason}"):
            plain_array(path, "x", (96, 96, 3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{path} is damaged or not the published file"):
        PatchCamelyon(tmp_path).image("test", "test_0")


def test_a_list_leads_out_of_no_folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "a/../../secret.jpg"):
        with pytest.raises(ValueError, match="which leads out of it; do not trust it"):
            Dtd(tmp_path).image("train", name)


DAMAGED = {
    Pets: ("annotations/trainval.txt", "Abyssinian_1\n", "train"),
    Clevr: ("scenes/CLEVR_train_scenes.json", '{"scenes": [{}]}', "train"),
    DmLab: ("dmlab-train.tfrecord", "\x02" + 11 * "\0" + "ab" + 4 * "\0", "train"),
}


@pytest.mark.parametrize("kind", DAMAGED, ids=lambda kind: kind.__name__)
def test_a_damaged_file_of_a_published_set_is_named(tmp_path, kind):
    name, text, split = DAMAGED[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    raw = kind(tmp_path, "count") if kind is Clevr else kind(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is damaged or not the published file"):
        raw.label(split, next(iter(raw.keys(split))))


@pytest.mark.parametrize("head", [(0, 1), (0x1E3D4C55, 0), (0x1E3D4C55, 9), (0x1E3D4C55, -1)])
def test_a_matrix_of_another_format_is_named(tmp_path, head):
    path = tmp_path / "a.mat"
    path.write_bytes(struct.pack("<ii3i", *head, 1, 1, 1))
    with pytest.raises(ValueError, match=f"{path} is damaged .* no matrix of NORB's format"):
        read_matrix(path)


def test_a_matrix_larger_than_it_says_is_not_unpacked(tmp_path):
    """A gigabyte of zeros in a megabyte, after a header of three values."""
    path = tmp_path / "a.mat.gz"
    body = struct.pack("<ii3i", 0x1E3D4C55, 1, 3, 1, 1) + bytes(10**8)
    path.write_bytes(gzip.compress(body, 1))
    with pytest.raises(ValueError, match=r"is cut off|larger|4 of 3 values"):
        read_matrix(path)
    path.write_bytes(gzip.compress(struct.pack("<ii4i", 0x1E3D4C55, 4, *[2**30] * 4)))
    with pytest.raises(ValueError, match="its sizes are"):
        read_matrix(path)


def test_patch_camelyon_is_read_row_by_row(tmp_path):
    h5py = pytest.importorskip("h5py")
    images = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)
    for what, values in (
        ("x", images),
        ("y", np.array([0, 1, 1, 0, 1], np.uint8)[:, None, None, None]),
    ):
        with h5py.File(tmp_path / f"camelyonpatch_level_2_split_valid_{what}.h5", "w") as file:
            file[what] = values
    raw = PatchCamelyon(tmp_path)
    assert raw.keys("validation") == [f"valid_{i}" for i in range(5)]
    assert [raw.label("validation", key) for key in raw.keys("validation")] == [0, 1, 1, 0, 1]
    assert np.array_equal(pixels(raw.image("validation", "valid_3")), images[3])


def test_dsprites_labels_come_from_rows_and_masks_become_white(tmp_path):
    masks = np.zeros((2000, 64, 64), np.uint8)
    masks[1500, 3, 4] = 1
    np.savez(tmp_path / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", imgs=masks)
    place, angle = (SOURCES[f"dsprites_{what}"](tmp_path) for what in ("loc", "ori"))
    row = ((1 * 6 + 2) * 40 + 37) * 1024 + 21 * 32 + 9  # orientation 37 of 40, x 21 of 32
    assert place.label("train", row) == 10
    assert angle.label("train", row) == 14
    found = pixels(place.image("train", 1500))
    assert (found.sum(), found[3, 4]) == (255, 255)


def norb(values: np.ndarray) -> bytes:
    """NORB's format as its page describes it."""
    kind = {np.dtype("u1"): 0x1E3D4C55, np.dtype("i4"): 0x1E3D4C54}[values.dtype]
    sizes = [*values.shape, 1, 1, 1][: max(values.ndim, 3)]
    return struct.pack(f"<ii{len(sizes)}i", kind, values.ndim, *sizes) + values.tobytes()


def test_smallnorb_shows_the_first_camera_and_halves_the_azimuth(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 96, 96), dtype=np.uint8)
    info = np.array([[0, 8, 34, 5], [1, 0, 0, 2], [2, 4, 12, 1]], np.int32)
    stem = "smallnorb-5x46789x9x18x6x2x96x96-training"
    (tmp_path / f"{stem}-dat.mat.gz").write_bytes(gzip.compress(norb(images)))
    (tmp_path / f"{stem}-info.mat").write_bytes(norb(info))
    azimuth, elevation = SmallNorb(tmp_path, "azimuth"), SmallNorb(tmp_path, "elevation")
    assert [azimuth.label("train", i) for i in azimuth.keys("train")] == [17, 0, 6]
    assert [elevation.label("train", i) for i in range(3)] == [8, 0, 4]
    assert np.array_equal(pixels(azimuth.image("train", 1)), images[1, 0])
    (tmp_path / "cut.mat").write_bytes(norb(info)[:-4])
    with pytest.raises(ValueError, match="is cut off: 11 of 12 values"):
        read_matrix(tmp_path / "cut.mat")


def test_dtd_is_numbered_by_its_sorted_classes(tmp_path):
    folder(tmp_path / "dtd/images", {"zigzagged": 1, "banded": 1})
    (tmp_path / "dtd/labels").mkdir()
    (tmp_path / "dtd/labels/train1.txt").write_text("zigzagged/0000.jpg\nbanded/0001.jpg\n")
    raw = Dtd(tmp_path)
    assert {key: raw.label("train", key) for key in raw.keys("train")} == {
        "zigzagged/0000.jpg": 1, "banded/0001.jpg": 0,
    }  # fmt: skip
    assert (
        raw.image("train", "banded/0001.jpg")
        == (tmp_path / "dtd/images/banded/0001.jpg").read_bytes()
    )


def test_flowers_count_from_one_in_files_and_from_nought_here(tmp_path, monkeypatch):
    from scipy.io import savemat

    savemat(tmp_path / "setid.mat", {"trnid": [[3, 1]], "valid": [[2]], "tstid": [[4, 5]]})
    savemat(tmp_path / "imagelabels.mat", {"labels": [[77, 1, 102, 5, 6]]})
    pin(monkeypatch, Flowers, tmp_path / "setid.mat", tmp_path / "imagelabels.mat")
    folder(tmp_path / "jpg", {"": 1})
    (tmp_path / "jpg/0000.jpg").rename(tmp_path / "jpg/image_00003.jpg")
    raw = Flowers(tmp_path)
    assert raw.keys("train") == ["image_00003.jpg", "image_00001.jpg"]
    assert [raw.label("train", key) for key in raw.keys("train")] == [101, 76]
    assert raw.image("train", "image_00003.jpg")[:2] == b"\xff\xd8"


def test_pets_are_numbered_by_their_annotations(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/trainval.txt").write_text("Abyssinian_100 1 1 1\nbeagle_2 5 2 1\n")
    (tmp_path / "annotations/test.txt").write_text("great_pyrenees_12 16 2 9\n")
    raw = Pets(tmp_path)
    assert {key: raw.label("train", key) for key in raw.keys("train")} == {
        "Abyssinian_100.jpg": 0, "beagle_2.jpg": 4,
    }  # fmt: skip
    assert raw.label("test", "great_pyrenees_12.jpg") == 15


def test_satellite_images_lie_in_their_classes(tmp_path):
    for root, name, file in (
        ("2750/SeaLake", "SeaLake_SeaLake_7.jpg", "SeaLake_7.jpg"),
        ("NWPU-RESISC45/sea_ice", "sea_ice_sea_ice_007.jpg", "sea_ice_007.jpg"),
    ):
        (tmp_path / root).mkdir(parents=True)
        (tmp_path / root / file).write_bytes(file.encode())
        raw = (EuroSat if "Sea" in name else Resisc45)(tmp_path)
        assert raw.image("train", name) == file.encode()
    assert EuroSat(tmp_path).label("train", "SeaLake_SeaLake_7.jpg") == 9
    assert Resisc45(tmp_path).label("train", "sea_ice_sea_ice_007.jpg") == 35


def test_sun_397_refuses_an_archive_that_is_not_the_published_one(tmp_path):
    folder(tmp_path / "SUN397", {"a/abbey": 2})
    with pytest.raises(
        ValueError, match="holds 2 pictures, other names than the published 108,753"
    ):
        Sun397(tmp_path).keys("train")


def test_sun_397_goes_by_letters_over_sorted_names(tmp_path, monkeypatch):
    import base64
    import hashlib
    import zlib

    from vit.published import folders

    folder(tmp_path / "SUN397", {"b/barn/indoor": 2, "a/abbey": 1})
    names = ["/a/abbey/0002.jpg", "/b/barn/indoor/0000.jpg", "/b/barn/indoor/0001.jpg"]
    facts = {"n": 3, "names_md5": hashlib.md5("\n".join(names).encode()).hexdigest(),
             "zlib_base64": base64.b64encode(zlib.compress(b"tve")).decode()}  # fmt: skip
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    monkeypatch.setattr(folders, "SUN", tmp_path / "facts.json")
    raw = Sun397(tmp_path)
    assert [raw.keys(s) for s in ("train", "validation", "test")] == [[name] for name in names]
    assert raw.label("test", names[2]) == 1
    assert raw.image("test", names[2]) == (tmp_path / "SUN397/b/barn/indoor/0001.jpg").read_bytes()


def test_caltech_counts_the_background_and_wants_lists(tmp_path):
    folder(tmp_path / "101_ObjectCategories", {"Faces": 1, "BACKGROUND_Google": 1, "accordion": 1})
    raw = Caltech101(tmp_path)
    assert raw.label("train", "BACKGROUND_Google/image_0001.jpg") == 1
    assert raw.label("train", "Faces/image_0001.jpg") == 2
    with pytest.raises(FileNotFoundError, match=r"train.txt is not there; .* cannot be derived"):
        raw.keys("train")


def test_clevr_counts_from_three_and_measures_the_nearest(tmp_path):
    depths = [12.0, 8.0, 11.0], [8.01, 9, 9, 9], [10.0] * 10, [9.5, 20, 20]
    things = [[{"pixel_coords": [0, 0, z]} for z in zs] for zs in depths]
    scenes_ = [{"image_filename": f"CLEVR_val_{i:06d}.png", "objects": objects}
               for i, objects in enumerate(things)]  # fmt: skip
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes/CLEVR_val_scenes.json").write_text(json.dumps({"scenes": scenes_}))
    keys = [f"CLEVR_val_{i:06d}.png" for i in range(4)]
    assert [Clevr(tmp_path, "count").label("validation", key) for key in keys] == [0, 1, 7, 0]
    assert [Clevr(tmp_path, "distance").label("validation", key) for key in keys] == [0, 1, 4, 3]


def kitti(root: Path) -> Kitti:
    (root / "mapping").mkdir()
    (root / "training/label_2").mkdir(parents=True)
    (root / "mapping/train_rand.txt").write_text(",".join(str(i) for i in range(40, 0, -1)))
    rows = "\n".join(f"2011_09_26 drive_{i % 20:04d} {i:010d}" for i in range(40))
    (root / "mapping/train_mapping.txt").write_text(rows)
    row = "{} 0.0 0 0 0 0 0 0 1 1 1 0 0 {} 0"
    for number, things in enumerate((
        [("Car", 30.0), ("Van", 7.5)], [("Truck", 8.0)], [("Car", 8.1), ("DontCare", -1000)],
        [("Car", 20.5)], [("Pedestrian", 3.0)], [],
    )):  # fmt: skip
        text = "\n".join(row.format(name, z) for name, z in things)
        (root / f"training/label_2/{number:06d}.txt").write_text(text)
    return Kitti(root)


def test_kitti_measures_the_nearest_vehicle_in_four_steps(tmp_path):
    raw = kitti(tmp_path)
    labels = [raw.label("train", f"{number:06d}.png") for number in range(6)]
    assert labels == [0, 0, 1, 2, 3, 3]


def test_kitti_keeps_a_video_in_one_split(tmp_path):
    raw = kitti(tmp_path)
    parts = {split: raw.keys(split) for split in ("train", "validation", "test")}
    assert {split: len(keys) for split, keys in parts.items()} == {
        "train": 32, "validation": 4, "test": 4,
    }  # fmt: skip
    video = {f"{image:06d}.png": (39 - image) % 20 for image in range(40)}
    seen = [{video[key] for key in keys} for keys in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20
    generator = np.random.RandomState(123)
    names = sorted(f"drive_{i:04d}" for i in range(20))
    test = generator.choice(names, 2, replace=False)
    assert {f"drive_{number:04d}" for number in seen[2]} == set(test.tolist())


def test_an_edge_belongs_to_what_lies_before_it():
    assert [scenes.bucket(value, scenes.METRES) for value in (8.0, 8.001, 20.0, 1000.0)] == [
        0,
        1,
        1,
        3,
    ]


def test_dmlab_reads_records_that_another_library_wrote(tmp_path):
    writer = pytest.importorskip("tfrecord").TFRecordWriter(
        str(tmp_path / "dmlab-train.tfrecord-0")
    )
    files = [saved(picture(number)) for number in range(3)]
    for number, data in enumerate(files):
        name = f"video_{number}.jpg".encode()
        writer.write(
            {"image": (data, "byte"), "filename": (name, "byte"), "label": (5 - number, "int")}
        )
    writer.close()
    raw = DmLab(tmp_path)
    assert raw.keys("train") == [f"video_{i}.jpg" for i in range(3)]
    assert [raw.label("train", key) for key in raw.keys("train")] == [5, 4, 3]
    assert [raw.image("train", key) for key in raw.keys("train")] == files
    whole = (tmp_path / "dmlab-train.tfrecord-0").read_bytes()
    (tmp_path / "dmlab-test.tfrecord").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="is cut off"):
        raw.keys("test")


def test_retinopathy_goes_by_kaggles_usage_and_levels_the_eye(tmp_path):
    with (tmp_path / "trainLabels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "level"], ["10_left", 0], ["13_right", 4]])
    with (tmp_path / "retinopathy_solution.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "level", "Usage"], ["1_left", 2, "Public"],
                                    ["1_right", 3, "Private"]])  # fmt: skip
    y, x = np.ogrid[:400, :600]
    eye = ((y - 200) ** 2 + (x - 300) ** 2 < 150**2)[..., None] * np.array([180, 90, 40])
    (tmp_path / "train").mkdir()
    (tmp_path / "train/10_left.jpeg").write_bytes(
        saved(Image.fromarray(eye.astype(np.uint8)), quality=95)
    )
    raw = Retinopathy(tmp_path)
    assert raw.keys("validation") == ["1_left"]
    assert [raw.label("train", key) for key in raw.keys("train")] == [0, 4]
    assert raw.label("test", "1_right") == 3
    found = pixels(raw.image("train", "10_left"))
    assert found.shape == (540, 540, 3)  # an eye of 150 px becomes one of 300, cut at 270
    assert abs(found[270, 270].astype(int) - 128).max() <= 4  # level where nothing changes
    assert (found[5, 5] == 128).all()  # outside the circle


def test_a_black_photograph_has_no_eye_and_half_its_height_stands_for_it():
    found = levelled(torch.zeros(3, 100, 100, dtype=torch.uint8))
    assert found.shape[1:] == (540, 540)
    assert (found == 128).all()


# ---- prepared folders -------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    """The task dtd with few images."""
    task = VTABTask("natural", 2, "train[:8]", "validation[:4]", "test", 6)
    monkeypatch.setitem(TASKS, "dtd", task)
    monkeypatch.setattr(prepare, "keys_of_part", small_members)
    raw = tmp_path / "raw/dtd"
    folder(raw / "images", {"banded": 10, "zigzagged": 10})
    names = sorted(p.relative_to(raw / "images").as_posix() for p in raw.glob("images/*/*"))
    (raw / "labels").mkdir()
    for split, part in (
        ("train1", names[::2]),
        ("val1", names[1::4]),
        ("test1", names[3::4][:6] + names[1:2]),
    ):
        (raw / f"labels/{split}.txt").write_text("\n".join(part))
    vtab.read_lists.cache_clear()
    return tmp_path


def small_members(raw, task, part):
    split = {"train800": "train", "val200": "validation", "test": "test"}[part]
    return prepare.ordered(raw, split)[: {"train800": 8, "val200": 4, "test": 6}[part]], split


def test_a_prepared_folder_keeps_every_byte_and_goes_on_where_it_stopped(small):
    raw = Dtd(small / "raw")
    done = prepare.write_task("dtd", raw, small / "vtab", lambda *_: None)
    lines = (done / "train800.txt").read_text().splitlines()
    assert len(lines) == 8
    keys = prepare.ordered(raw, "train")[:8]
    for line, key in zip(lines, keys, strict=True):
        file, label = line.split()
        assert (done / file).read_bytes() == raw.image("train", key)
        assert int(label) == raw.label("train", key)
    both = [(done / f"{part}.txt").read_text() for part in ("train800", "val200")]
    assert (done / "train800val200.txt").read_text() == "".join(both)
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    stamp = (done / lines[0].split()[0]).stat().st_mtime_ns

    class Killed(Exception):
        pass

    def stop(part, number, count):
        if (part, number) == ("val200", 2):
            raise Killed

    again = small / "again"
    with pytest.raises(Killed):
        prepare.write_task("dtd", raw, again, stop)
    prepare.write_task("dtd", raw, again, lambda *_: None)
    after = {again / "dtd" / path.relative_to(done): data for path, data in before.items()}
    assert {path: path.read_bytes() for path in after} == after
    prepare.write_task("dtd", raw, small / "vtab", lambda *_: None)
    assert (done / lines[0].split()[0]).stat().st_mtime_ns == stamp


def test_raw_data_that_is_not_complete_is_refused(tmp_path):
    (tmp_path / "dtd/labels").mkdir(parents=True)
    (tmp_path / "dtd/labels/train1.txt").write_text("banded/1.jpg")
    with pytest.raises(
        ValueError, match=r"train800 should be 800 images \(train\[:800\]\), there are 1;"
    ):
        prepare.keys_of_part(Dtd(tmp_path), TASKS["dtd"], "train800")


def lists(root: Path, name: str, suffix: str = "jpg") -> Path:
    """Full-size lists over one picture: what the reader reads before it opens any."""
    task, home = TASKS[name], root / name
    (home / "images/x").mkdir(parents=True)
    (home / f"images/x/0.{suffix}").write_bytes(saved(picture(), "JPEG"))
    for part, count in (("train800", 800), ("val200", 200), ("test", task.tested)):
        rows = "".join(f"images/x/0.{suffix} {i % task.classes}\n" for i in range(count))
        (home / f"{part}.txt").write_text(rows)
    return root


def test_a_task_is_read_by_any_name_and_says_where_it_is_from(tmp_path):
    root = lists(tmp_path, "kitti")
    data = VTAB("vtab-kitti", root=str(root))
    assert data.spec.counts == {"train": 800, "val": 200, "test": 711}
    assert data.notes == ("kitti: prepared elsewhere, images re-encoded",)
    elsewhere = data.split_hash("test")
    (root / "kitti/origin.json").write_text(json.dumps({"task": "kitti"}))
    own = VTAB("kitti", root=str(root))
    assert own.notes == ()
    assert own.split_hash("test") != elsewhere
    final = VTAB("kitti", root=str(root), train="train800val200")
    assert final.spec.counts["train"] == 1000
    assert final.notes == ("validation is trained on: choose nothing by it",)


def test_lists_that_are_not_the_tasks_are_refused(tmp_path):
    root = lists(tmp_path, "kitti")
    (root / "kitti/val200.txt").write_text("images/x/0.jpg 4\n" * 200)
    with pytest.raises(ValueError, match="labels below 4, has 200 with labels to 4"):
        VTAB("kitti", root=str(root))
    with pytest.raises(FileNotFoundError, match="prepare --vtab dtd makes it"):
        VTAB("dtd", root=str(root)).files()


@pytest.mark.parametrize(
    ("name", "flip", "part"),
    [("cifar", True, True), ("kitti", True, False), ("dsprites_ori", False, True),
     ("dsprites_loc", False, False), ("smallnorb_ele", True, True)],
)  # fmt: skip
def test_what_a_task_forbids_is_not_done(name, flip, part):
    augmentation = VTAB(name, protocol="bit").augmentation
    assert (augmentation.flip, augmentation.crop_ratio is not None) == (flip, part)
    assert VTAB(name).augmentation == Augmentation()


def test_one_protocol_says_what_is_augmented():
    with pytest.raises(ValueError, match="leave augmentation out"):
        VTAB("cifar", protocol="bit", augmentation=Augmentation(flip=True))


def test_the_papers_fine_tuning_shows_tasks_as_the_paper():
    recipe = Path(__file__).parents[1] / "configs" / "finetune" / "vit_vtab.yaml"
    assert yaml.safe_load(recipe.read_text())["data"]["init_args"]["protocol"] == "bit"
