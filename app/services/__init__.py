"""The behaviour of the service: no HTTP, no SQL."""
