"""The monitor: our pages and the HTTP API, mounted into Flower."""
