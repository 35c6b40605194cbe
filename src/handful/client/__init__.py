"""The client: protocol logic once, without I/O; thin blocking and async drivers."""
