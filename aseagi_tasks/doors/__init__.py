"""Who comes in: terminal."""
