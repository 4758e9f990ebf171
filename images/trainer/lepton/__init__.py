"""Lepton trains agents on Kubernetes."""
