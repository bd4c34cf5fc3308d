"""Drafts of the SMTP settings: save one, check it, and read its stages and its diagnosis. None of them goes live here."""
