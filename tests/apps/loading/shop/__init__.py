"""A package, as frameworks lay them out."""
