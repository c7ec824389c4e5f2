"""What is true: records, the table of lives and pure functions over them. No I/O, no clock, no logs."""
