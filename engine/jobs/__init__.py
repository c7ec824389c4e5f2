"""What happens by itself, and how often: each job a file, with one turn as one method; `scheduler` beats the time."""
