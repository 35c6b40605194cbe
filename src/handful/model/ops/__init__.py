"""The operations a step is made of: the same names in plain torch and, where it pays, in something faster."""
