"""Endpoints: parse, call a service, answer."""
