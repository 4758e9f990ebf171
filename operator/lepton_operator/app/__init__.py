"""The shell: kopf wiring, settings, probes, metrics, command line."""
