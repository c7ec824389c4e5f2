"""One file per phase of a machine's life; no step knows another."""
