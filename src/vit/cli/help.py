"""What --help prints. It stands here, and not in the parser, so that it needs no torch."""

VERBS = {
    "fit": "train: python train.py fit --config configs/quickstart.yaml",
    "validate": "score a run on the validation split: --from <run folder | checkpoint>",
    "test": "score it on the test split: --from <run folder | checkpoint>",
    "predict": "tell the classes of pictures: --from <run | weights> --images <folder>",
    "evaluate": "judge frozen features by kNN, ridge, linear and attentive probes",
    "export": "write a run for others, verified: --to onnx, torch-export, timm, huggingface",
    "prepare": "get, check and show data: --check --data configs/data/image_folder.yaml",
    "compare": "arms x seeds x protocols under one budget: --config configs/compare/quick.yaml",
}

FIT_HELP = """\
usage: python train.py fit --config <file.yaml> [options]

Files come first and single keys last: what stands later wins.

  --config FILE               a YAML file; several are layered
  --data FILE                 another data set: configs/data/*.yaml
  --model.encoder FILE        another encoder: configs/encoder/*.yaml
  --model.objective FILE      another objective: configs/objective/*.yaml
  --trainer FILE              where it runs: configs/trainer/*.yaml
  --model.pretrained PATH     start from the encoder of a run folder or checkpoint
  --seed_everything N         the run's seed (default 0)
  --test_after_fit true       read the test split once at the end
  --keep_best true            keep best.ckpt, the best on validation, beside the last
  --find                      first choose learning rate and resize policy on validation, by a few
                              short runs; they are printed, and kept in find.csv
  --trainer.max_epochs N      how long; --data.batch_size N, --model.optimizer.lr X and every
                              other key of the YAML files work the same way
  --name NAME, --logs DIR     the run lies in DIR/NAME/<date-time>_seed<N>; default: logs and the
                              first config's name
  --resume RUN_FOLDER         go on with an interrupted run, exactly
  --trust MODULES             classes of these that a stored file may name (a,b); see SECURITY.md
  --print_config              show the merged settings and stop
  --debug                     show tracebacks

All keys: python train.py fit --help-all
"""

FROM_HELP = """\
usage: python train.py {verb} --from <run folder | checkpoint> [options]

The run's own config and weights: a folder means its best.ckpt where there is one, else last.ckpt.

  --data FILE                 other data: configs/data/*.yaml
  --trainer FILE              where it runs: configs/trainer/*.yaml; single keys work too
  --seed_everything N         another seed
  --name NAME, --logs DIR     for a bare checkpoint: where the new folder lies
  --trust MODULES             classes of these that the file may name (a,b); see SECURITY.md
  --debug                     show tracebacks

Writes summary.{verb}.json into the run folder.
"""


PREDICT_HELP = """\
usage: python train.py predict --from <run | weights | export> --images <files or folder>
       python train.py predict --from <run folder | checkpoint> [--data FILE]

Tells the classes of pictures. Classes, size and transform come with the model; no data set is asked
for. A folder is searched with those below it; what cannot be read is listed.

  --images FILES              pictures, or folders of them
  --top K                     so many classes a picture (default 5); of several labels, all of them
  --to csv | json             how to write them (default csv, or what --out ends in)
  --out FILE                  where (default predictions.images.csv in the run folder, or
                              predictions.csv here)
  --trust MODULES             classes of these that the file may name (a,b); see SECURITY.md
  --debug                     show tracebacks

Without --images: the test split of the run's data, or of --data, into the run's predictions.csv;
--trainer FILE, --seed_everything N, --name NAME and --logs DIR as for test.
"""

EVALUATE_HELP = """\
usage: python train.py evaluate <run folder | checkpoint> [options]

Judges the frozen encoder by protocols that train no weight of it, beside an untrained encoder of
the same kind and raw pixels. Without a run: --config <recipe> judges an untrained encoder.

  --data FILE                 other data: configs/data/*.yaml; single keys work too
  --protocols LIST            of knn,ridge,linear,attentive (default: all four)
  --split LIST                val (default), test, or val,test; a reading of test is recorded
  --controls LIST             of random,pixels,kmeans (default: the first two), or none
  --seed_everything N         for what a protocol draws
  --cache DIR                 where features are kept (default logs/cache); none: nowhere
  --trust MODULES             classes of these that the file may name (a,b); see SECURITY.md
  --name NAME, --logs DIR     for a bare checkpoint: where the new folder lies
  --debug                     show tracebacks

Writes summary.evaluate.json, correct.<split>.csv and a line a figure in evaluations.csv.
"""

COMPARE_HELP = """\
usage: python train.py compare --config configs/compare/<study>.yaml [options]

Plans and runs a study: ordinary fits, tests and evaluations, never repeated, begun where they
stopped. Every key of the study can be given here too: --seeds 3 --tuning.trials 1.

  --dry-run                   what it would run, take and be able to see; run nothing
  --list                      the same, and every run and its command before it
  --report FOLDER             write a study's report anew (logs/compare/quick); run nothing
  --weights A B ...           released encoders, an arm each: files, folders or names
  --finetune                  released.yaml: fine-tune them too, and scratch beside them
  --jobs N                    runs at a time (default: one per core, or one per GPU)
  --emit slurm                write the runs as job arrays instead of running them
  --rerun-stale               repeat runs that were made by other code
  --logs DIR                  results in DIR/compare/<study>, runs in DIR/compare/runs
  --name NAME                 of the study (default: the file's)
  --trust MODULES             classes of these that its runs may name (a,b); see SECURITY.md
  --data FILE                 other data for all of it: configs/data/*.yaml
  --data.KEY VALUE            a key of all its data, such as --data.root my_pictures
  --debug                     show tracebacks
"""

PREPARE_HELP = """\
usage: python train.py prepare --data <file.yaml> [--data.root DIR] [--check | --show]
       python train.py prepare --vtab <task,task,... | all> [--raw DIR] [--out DIR]

Gets a data set (downloads what can be downloaded, else says what to put where), counts it, says how
large its pictures are and what is not used, and the command to go on with.

  --check                     read every image in parallel: the unreadable, the doubled across
                              splits or classes, empty classes; exit code 1 if there are any
  --show                      write a contact sheet: images, their classes, what training sees
  --vtab TASKS                VTAB-1k's folders from the published raw files, pixels unchanged;
                              goes on where it was stopped
  --raw DIR, --out DIR        where raw files lie (default data) and folders go (data/vtab-1k)
  --to shards --out DIR       write WebDataset tar files: --form jpeg (quality 90; default), raw
                              (pixels) or as_is; --short_side 288, --per_shard 1000
  --logs DIR                  the sheet lies in DIR/prepare
  --debug                     show tracebacks
"""

EXPORT_HELP = """\
usage: python train.py export <run folder | checkpoint | released weights> --to <formats> [options]

Writes the model with its classes and its preprocessing, a page that describes it, and verifies it:
from encoded picture files to answers, loaded anew. What differs is not kept.

  --to FORMATS                of onnx, torch-export (uint8 RGB of any size in, probabilities out),
                              timm, huggingface, safetensors (weights by our names); several: a,b
  --out DIR                   where it lies (default: <run>/export/<format>); with several formats
                              each has a folder in it
  --int8                      of onnx: model.int8.onnx too, where measured accuracy stays (predict
                              --from opens that file)
  --int8_margin X             the fall of validation accuracy that is too much (default 0.01)
  --calibration DIR           pictures to take 8-bit scales from (default: the training split)
  --trust MODULES             classes of these that the file may name (a,b); see SECURITY.md
  --debug                     show tracebacks

An ONNX folder holds example.py, which needs onnxruntime, Pillow and NumPy, no torch.
"""

HELP = {
    "fit": FIT_HELP,
    "evaluate": EVALUATE_HELP,
    "predict": PREDICT_HELP,
    "compare": COMPARE_HELP,
    "prepare": PREPARE_HELP,
    "export": EXPORT_HELP,
}


def overview() -> str:
    """The verbs, a line each."""
    lines = [f"  {verb:<10} {text}" for verb, text in VERBS.items()]
    last = "python train.py fit --help lists the options people use."
    return "\n".join(["usage: python train.py <verb> [options]\n", *lines, f"\n{last}\n"])


def help_of(verb: str) -> str:
    """The options of a verb that people use."""
    return HELP.get(verb) or FROM_HELP.format(verb=verb)
