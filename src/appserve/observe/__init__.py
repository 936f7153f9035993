"""What a running server says of itself: the error log, the access log, the scoreboard."""
