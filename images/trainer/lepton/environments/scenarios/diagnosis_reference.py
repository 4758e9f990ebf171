"""What a test can be expected to tell about the disease, for the reference of `diagnosis`."""

from array_api_compat import array_namespace, device

from lepton.environments.scenario import Array
from lepton.environments.scenarios.diagnosis_network import CAUSES, DISEASES, TESTS, tables


def information(belief: Array, ordered: Array) -> Array:
    """Mutual information of the disease and the outcome of each test, in nats, shape (n, tests).

    `belief` holds the probability of each cause, shape (n, CAUSES). Tests whose bit is set in
    `ordered`, shape (n,), have nothing left to tell.
    """
    xp = array_namespace(belief)
    know = tables(xp, device(belief))
    outcomes = know.likelihood.shape[0]
    both = xp.permute_dims(know.likelihood[:, :, None] * know.disease, (1, 0, 2))
    joint = xp.reshape(belief @ xp.reshape(both, (CAUSES, -1)), (-1, outcomes, len(DISEASES)))
    # Minus the entropy that is left after each outcome, weighted by the outcome's probability.
    certainty = xp.sum(_x_log_x(joint), axis=2) - _x_log_x(xp.sum(joint, axis=2))
    entropy = -xp.sum(_x_log_x(belief @ know.disease), axis=1, keepdims=True)
    number = xp.arange(len(TESTS), dtype=xp.int64, device=device(belief))
    is_new = ((ordered[:, None] >> number) & 1) == 0
    return xp.where(is_new, entropy + certainty @ know.of_test, 0.0)


def _x_log_x(x: Array) -> Array:
    xp = array_namespace(x)
    return x * xp.log(xp.where(x > 1e-30, x, 1e-30))
