"""Train, test and look at Vision Transformers: `python train.py --help`."""

import sys

from vit.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
