"""Reads bounce mails and complaints from a mailbox over IMAP, without changing it."""
