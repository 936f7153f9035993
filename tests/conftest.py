"""For every test: examples that are made up are the same in every run, so that none fails by chance.

`--hypothesis-profile=default` has others made up each time, and `make fuzz` looks for as long as one likes.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
