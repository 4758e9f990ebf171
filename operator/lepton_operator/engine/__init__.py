"""What makes a level-triggered controller: cache, queue, effects, limits, leader election.

Knows nothing of training.
"""
