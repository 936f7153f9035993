"""What a person meets first: the commands."""
