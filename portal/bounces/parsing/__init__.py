"""Reads bounce mails, complaints and automatic replies: for which recipient, what happened, and why. Needs no database."""
