"""What the core needs from outside: protocols whose docstrings are the contract of every implementation."""
