"""Training: rollouts, evaluation, checkpoints, data parallelism, and the loop around them."""
