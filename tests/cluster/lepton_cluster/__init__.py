"""Builds, starts, stops and inspects one Kubernetes cluster. Standard library only."""
