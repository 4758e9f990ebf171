"""`python3 tests/cluster COMMAND`: a real Kubernetes for development and tests."""

import sys

from lepton_cluster.command_line import main

if __name__ == "__main__":
    sys.exit(main())
