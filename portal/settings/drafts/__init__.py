"""Drafts that come from elsewhere than the page."""
