"""``python -m altmarl_torch`` is the command ``altmarl``."""

import sys

from altmarl_torch.cli import main

sys.exit(main())
