"""Lines to facts with their evidence."""
