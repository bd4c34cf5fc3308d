"""Log-ins without a password: grants of OAuth 2.0 (RFC 6749) and the access tokens that are fetched with them.

A grant belongs to an account, a client and a mailbox. A version of the SMTP settings refers to it. This room imports no
settings and no page; the pages that make a grant are in ``settings/``.
"""
