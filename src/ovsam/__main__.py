"""`python -m ovsam`, and `torchrun -m ovsam`: the command."""

from ovsam.cli import app

app()
