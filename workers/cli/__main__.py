"""`python -m workers.cli` is `chorus`."""

from workers.cli import main

main()
