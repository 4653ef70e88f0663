"""`python -m peebot_local`: what the launcher runs."""

from peebot_local.cli import main

main()
