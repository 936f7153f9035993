"""What every client connection has, whichever loop owns it: the connection floor."""
