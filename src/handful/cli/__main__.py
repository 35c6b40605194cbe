"""`python -m handful.cli`: the command without the script that installation makes."""

from handful.cli.main import main

main()
