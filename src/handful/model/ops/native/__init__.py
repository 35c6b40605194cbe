"""Native kernels for processors: optional, found at run time, never needed for an answer."""
