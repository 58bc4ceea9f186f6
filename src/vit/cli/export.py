"""The verb export: read the command line, let the export run, say what was written."""

import tempfile
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from vit import parser_workarounds
from vit.cli.argv import nearest_option
from vit.cli.errors import UsageError
from vit.cli.evaluate import listed_names
from vit.cli.recorded import importable, settings_of, trusted_modules
from vit.data.base import Images
from vit.export.formats import FORMATS
from vit.export.int8 import INT8, Quantised, as_plain, quantise
from vit.export.samples import Samples, pictures_below, samples_of
from vit.export.subject import Subject, other_head, subject_of
from vit.export.writing import Written, as_sentence, export_model
from vit.models.weights import open_checkpoint

VERIFIED_ON, CALIBRATED_ON, TESTED_ON = 12, 64, 1000  # pictures at most


def run_export(options: dict[str, str], rest: list[str]) -> int:
    """Write a model in the formats of --to; 1 where --int8 was asked for and not kept."""
    int8 = "--int8" in rest
    rest = [word for word in rest if word != "--int8"]
    source = rest.pop(0) if rest and not rest[0].startswith("-") else options.get("--from")
    kinds = check_export_options(options, rest, source, int8)
    trusted = trusted_modules(options.get("--trust"))
    subject = subject_of(source)
    for line in (*subject.stored.notes, other_head(subject)):
        if line:
            print(f"export: {line}")
    places = places_of(options, kinds, subject)
    quantised: list[Quantised] = []
    with tempfile.TemporaryDirectory() as scratch:
        data, validation = validation_of(subject, trusted, Path(scratch), int8)

        def more(kind: str, folder: Path) -> dict[str, Any]:
            if kind != "onnx" or not int8:
                return {}
            pictures = calibration_of(options, data, Path(scratch))
            margin = float(options.get("--int8_margin", "0.01"))
            quantised.append(quantise(subject, folder, pictures, validation, margin))
            return {"int8": as_plain(quantised[0])}

        files = validation.files[:: max(len(validation.files) // VERIFIED_ON, 1)][:VERIFIED_ON]
        written = export_model(subject, places, files, more)
    report_written(written, quantised, bool(subject.classes))
    return 1 if quantised and not quantised[0].kept else 0


def check_export_options(
    options: dict[str, str], rest: list[str], source: str | None, int8: bool
) -> list[str]:
    """The formats that are asked for.

    Raises:
        UsageError: what is asked for cannot be.
    """
    known = tuple(FORMATS)
    if source is None:
        raise UsageError("export: say what: python train.py export <run | checkpoint | weights>")
    if rest:
        near = nearest_option(rest[0], "export") or "; python train.py export --help"
        raise UsageError(f"export: unknown {rest[0]}{near}")
    kinds = listed_names(options.get("--to", ""), "--to", known)
    if not kinds:
        raise UsageError(f"export: say to what: --to {' | '.join(known)}, or several: a,b")
    check_int8_options(options, kinds, int8)
    return list(dict.fromkeys(kinds))


def check_int8_options(options: dict[str, str], kinds: list[str], int8: bool) -> None:
    """Refuse what --int8 cannot do, and what belongs to it alone.

    Raises:
        UsageError: naming the option.
    """
    if int8 and "onnx" not in kinds:
        raise UsageError("export: --int8 belongs to --to onnx")
    lonely = {"--int8_margin", "--calibration"} & options.keys()
    if lonely and not int8:
        raise UsageError(f"export: {sorted(lonely)[0]} belongs to --int8")
    if "--calibration" in options and not Path(options["--calibration"]).is_dir():
        raise UsageError(f"--calibration: {options['--calibration']} is no folder")
    try:
        sound = 0 < float(options.get("--int8_margin", "0.01")) <= 1
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(
            "--int8_margin: needs a fraction of accuracy above 0, as 0.01 for a point, got "
            f"{options['--int8_margin']}"
        )


def places_of(options: dict[str, str], kinds: list[str], subject: Subject) -> dict[str, Path]:
    """A folder a format: below --out where there are several, or below the run."""
    if "--out" in options:
        out = Path(options["--out"])
        return {kinds[0]: out} if len(kinds) == 1 else {kind: out / kind for kind in kinds}
    stem = subject.stored.path.stem if subject.stored.path.is_file() else subject.stored.path.name
    parent = subject.run / "export" if subject.run else Path("export") / stem
    return {kind: parent / kind for kind in kinds}


def validation_of(
    subject: Subject, trusted: tuple[str, ...], scratch: Path, int8: bool
) -> tuple[Images | None, Samples]:
    """The data of a run and pictures of its validation split; none where they are not here."""
    data = data_of_run(subject, trusted) if subject.run else None
    if data is None:
        return None, Samples([], [])
    most = TESTED_ON if int8 else VERIFIED_ON
    try:
        return data, samples_of(data, "val", most, scratch / "val")
    except (OSError, ValueError) as error:
        print(f"export: its validation pictures cannot be read ({error}); verified on drawn ones")
        return None, Samples([], [])


def data_of_run(subject: Subject, trusted: tuple[str, ...]) -> Images | None:
    """The data set of a run as its settings name it; None where it is not here."""
    path = subject.stored.path
    settings = settings_of(open_checkpoint(path)["config"], path, trusted)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        with parser_workarounds.importing(importable(trusted)):
            data = parser.instantiate(parser.parse_object({"data": settings["data"]})).data
    except (OSError, ValueError) as error:
        print(f"export: its data is not here ({str(error)[:200]}); verified on drawn pictures")
        return None
    return data


def calibration_of(options: dict[str, str], data: Images | None, scratch: Path) -> list[Path]:
    """Pictures that scales are taken from: --calibration, else the training split.

    Raises:
        UsageError: there are none.
    """
    if "--calibration" in options:
        return pictures_below(Path(options["--calibration"]), CALIBRATED_ON)
    if data is None:
        raise UsageError("--int8: the pictures of the run are not here, which it is measured on")
    return samples_of(data, "train", CALIBRATED_ON, scratch / "train").files


def report_written(written: list[Written], quantised: list[Quantised], tells_classes: bool) -> None:
    """A line a format, what quantising brought, and what to type next."""
    for one in written:
        said = as_sentence(one.difference, one.kind)
        print(f"{one.kind}: {one.folder}, {one.megabytes:.1f} MB; {said}")
    for result in quantised:
        place = next(one.folder for one in written if one.kind == "onnx") / INT8
        print(result.line() + (f"; use: predict --from {place}" if result.kept else ""))
    print(next_line(written, tells_classes))


def next_line(written: list[Written], tells_classes: bool) -> str:
    """What to do with an export: `predict` opens it, or its README says how others do."""
    # the one that predicts without this project's encoders, where there is one
    one = min(written, key=lambda one: (one.kind != "onnx", one.kind == "torch-export"))
    if not tells_classes or one.kind == "torch-export":
        return f"next: {one.folder / 'README.md'} says how to open it"
    return f"next: python train.py predict --from {one.folder} --images <files or folder>"
