"""`lepton environments`: what there is to train in without writing any."""

from importlib import import_module

from lepton.environments import NAMESPACE, scenarios


def print_environments() -> int:
    """Print lepton's own environments, a line each; the exit code."""
    width = max(len(name) for name in scenarios.SCENARIOS) + len(NAMESPACE) + 1
    for name, module in sorted(scenarios.SCENARIOS.items(), key=lambda pair: pair[0].lower()):
        text = import_module(f"{scenarios.__name__}.{module}").__doc__ or ""
        paragraph = " ".join(text.strip().partition("\n\n")[0].split())
        sentence = paragraph.partition(". ")[0].rstrip(".").removeprefix(f"{name}: ")
        print(f"{NAMESPACE}/{name}".ljust(width), f"{sentence}.", sep="  ")
    return 0
