"""Page image to lines of text."""
