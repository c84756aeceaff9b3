"""What ends by time: how far a sweep is, so that one that was killed goes on and is in the log once."""
