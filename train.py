"""Learn a pair of policies: ``python train.py --k 20`` is ``altmarl train --k 20``."""

import sys

from altmarl_torch.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
