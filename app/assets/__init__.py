"""Files that come with the service."""
