"""Reports: what is handed to people, made of what is in records and bucket."""
