"""What a GPU has to do at least, and what it does."""
