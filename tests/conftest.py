"""What all tests share: property tests draw the same examples in every run."""

from hypothesis import settings

# A failure that comes and goes helps nobody who changes something else. To look for new ones:
# pytest --hypothesis-profile=search
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile("same")
