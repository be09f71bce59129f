"""What to rent, how to rent it, and life on a rented machine."""
