"""The database: accounts, API tokens and usage, in SQLite or PostgreSQL. Blocking; the server calls it from threads."""
