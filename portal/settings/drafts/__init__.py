"""Drafts that come from elsewhere than the page, and what the audit trail states of versions."""
