"""What an operator sees: the health of the process over HTTP, and tables about machines for terminals and programs."""
