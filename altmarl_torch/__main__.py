"""`python -m altmarl_torch` is the command `altmarl`."""

import sys

try:
    from altmarl_torch.cli import main

    sys.exit(main())
except KeyboardInterrupt:  # while importing; a command that runs sees to it itself
    sys.exit(130)
