"""The `handful` command: one file a subcommand. Heavy imports stay inside the functions, so `--help` is instant."""
