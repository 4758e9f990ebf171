"""Collects what pods report and coalesces it into few status writes."""
