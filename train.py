"""Learn a pair of policies: ``python train.py --k 20`` is ``altmarl train --k 20``."""

import sys

try:
    from altmarl_torch.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
except KeyboardInterrupt:  # while importing; a command that runs sees to it itself
    sys.exit(130)
