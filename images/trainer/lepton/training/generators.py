"""The global random generators, which environments and layers of users' own may use."""

import json
import random
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and torch's."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generators_state() -> dict[str, Any]:
    """Their states, as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "numpy": {
            "kind": str(kind),
            # As int64: not every reader knows unsigned 32-bit tensors.
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "python": json.dumps(random.getstate()),
    }


def restore_generators(state: dict[str, Any]) -> None:
    """Continue from what `generators_state` returned."""
    torch.set_rng_state(state["torch"])
    theirs = state["numpy"]
    keys = theirs["keys"].numpy().astype(np.uint32)
    np.random.set_state(
        (theirs["kind"], keys, theirs["position"], theirs["has_gauss"], theirs["cached"])
    )
    version, numbers, gauss = json.loads(state["python"])
    random.setstate((version, tuple(numbers), gauss))
