"""`make bench-scale`: what thousands of jobs cost, beside plain Jobs on the same API server."""
