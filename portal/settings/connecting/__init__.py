"""Connections without a password: their pages, and the versions of the settings that use them."""
