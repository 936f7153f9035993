"""The master: binds the listeners, forks the workers and supervises them."""
