"""Optimiser: gradient steps on one flat tensor, shared with the other workers."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lepton.algorithms.flat import Adam, FlatParameters, all_finite
from lepton.algorithms.learner import Workplace, diverged
from lepton.spec.trainer import Synchronisation


class Optimiser:
    """Adam on a module's parameters: clipping, exchange and step are a call each.

    Every worker's minibatch contributes the sum of its gradients and its number of samples;
    divided after the exchange, the step is that of one process with all the samples, even if
    workers hold different numbers of them.
    """

    def __init__(
        self,
        module: nn.Module,
        workplace: Workplace,
        *,
        max_gradient_norm: float = 0.0,
        epsilon: float = 1e-5,
    ) -> None:
        self._flat = FlatParameters(module)
        self._adam = Adam(self._flat, epsilon=epsilon)
        self._group = workplace.group
        self.shares_gradients = workplace.synchronisation is Synchronisation.GRADIENTS
        self._max_gradient_norm = max_gradient_norm
        self._group.share(self._flat.values)

    @property
    def values(self) -> Tensor:
        """All parameters, as one tensor that shares memory with them."""
        return self._flat.values

    def step(
        self,
        loss: Tensor,
        samples: float,
        learning_rate: float,
        computed: Mapping[str, Tensor] | None = None,
    ) -> None:
        """One step down the gradient of `loss`, which is a sum over `samples` samples.

        Raises NonFiniteError, naming the first of `computed` that is not finite, if the loss is
        not.
        """
        if not math.isfinite(loss.item()):
            raise diverged(self._flat.first_not_finite(), computed or {})
        flat = self._flat
        flat.gradients_and_count.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        flat.gradients_and_count[-1] = samples
        if self.shares_gradients:
            self._group.sum(flat.gradients_and_count)
        # The sum becomes the mean, and shorter where that is too long.
        scale = flat.gradients_and_count[-1].clamp_min(1.0).reciprocal()
        if self._max_gradient_norm:
            scale = scale.minimum(self._max_gradient_norm / (flat.gradients.norm() + 1e-6))
        flat.gradients.mul_(scale)
        self._adam.step(learning_rate)

    def end_update(self) -> None:
        """After the steps of one update: without shared gradients, take the workers' mean.

        Raises NonFiniteError when a parameter stopped being finite.
        """
        if not self.shares_gradients:
            self._group.sum(self._flat.values).div_(self._group.size)
        if not all_finite(self._flat.values):
            raise diverged(self._flat.first_not_finite(), {})

    def state(self) -> dict[str, Any]:
        """What the next step depends on, besides the parameters."""
        return self._adam.state()

    def worker_state(self) -> dict[str, Any] | None:
        """The same where it differs between workers: without shared gradients each worker's Adam
        goes its own way."""
        return None if self.shares_gradients else self._adam.copied_state()

    def restore(self, state: dict[str, Any], worker_state: dict[str, Any] | None) -> None:
        """Continue from `worker_state` or else from `state`."""
        self._adam.restore(worker_state or state)
