"""Where bytes and rows are kept."""
