"""`make run`: the operator on this machine against the cluster, for development.

The replicas in the cluster are scaled to none meanwhile: one leader at a time, and here it is us.
"""

import os
import sys

from install import NAMESPACE, TRAINER, pushed
from steps import EXISTING, StepError, environment, kubectl, say


def main() -> None:
    """Replace this process by the operator."""
    trainer = os.environ["TRAINER_IMAGE"] if EXISTING else pushed(TRAINER)
    kubectl("scale", "deployment", "--all", "--replicas=0", f"--namespace={NAMESPACE}")
    say("the operator in the cluster is scaled to none; `make install` brings it back")
    program = os.path.join(os.path.dirname(sys.executable), "lepton-operator")
    options = ["run", f"--trainer-image={trainer}", f"--lease-namespace={NAMESPACE}"]
    os.execve(program, [program, *options, *sys.argv[1:]], environment())


if __name__ == "__main__":
    try:
        main()
    except StepError as error:
        sys.exit(f"make run: {error}")
