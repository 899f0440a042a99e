"""`python -m workers.cli` runs the `chorus` command."""

from workers.cli import main

main()
