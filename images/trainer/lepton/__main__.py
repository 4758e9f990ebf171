"""`python -m lepton` is the command `lepton`."""

import sys

from lepton.cli import main

sys.exit(main())
