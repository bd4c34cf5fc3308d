"""Diagnoses of failures that no mail server reported: faults of the portal, of the message or of the sealing key."""

from __future__ import annotations

INTERNAL_ERROR = {
    "code": "portal-fault",
    "kind": "server_fault",
    "whose_move": "operator",
    "cause": "An internal error occurred while Signet was sending this email.",
    "fixes": ["Ask the operator of this portal to look at the worker's log."],
}
UNSENDABLE = {
    "code": "message-not-sendable",
    "kind": "content",
    "whose_move": "operator",
    "cause": "This email contains characters that are not allowed in emails.",
    "fixes": ["Sign the affiliate up again without unusual characters in the name."],
}
POSSIBLY_DELIVERED = {
    "code": "in-doubt",
    "kind": "server_fault",
    "whose_move": "provider",
    "cause": "Another server may already have accepted this email, because the connection ended before "
    "it replied. A second server could deliver it twice, so the email waits until the first "
    "server works again.",
    "fixes": ["You do not need to do anything. Signet tries again automatically."],
}
KEY_MISSING = {
    "code": "mail-not-openable",
    "kind": "server_fault",
    "whose_move": "operator",
    "cause": "The portal's own emails are encrypted, and this worker does not have the key to decrypt them.",
    "fixes": ["Add the key that encrypted them to the keyring again and restart the worker."],
}
ACCOUNT_STOPPED = {
    "code": "account-stopped",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is suspended or not approved yet, so Signet sends no emails for it, not even a test.",
    "fixes": ["Ask the operator of this portal to approve your account, then save the settings again."],
}
UNCONFIRMED_RECIPIENT = {
    "code": "recipient-not-confirmed",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is not approved yet. Until then the platform's sender writes only to its "
    "owners and to affiliates who confirmed their address.",
    "fixes": [
        "Use your own SMTP server, or ask the operator of this portal to approve your account. Then send the email again."
    ],
}
OWN_TEXT = {
    "code": "own-text-not-approved",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is not approved yet. Until then the platform's sender uses only the default "
    "texts and design, and this email has its own.",
    "fixes": [
        "Use your own SMTP server, or ask the operator of this portal to approve your account. Then send the email again."
    ],
}
OWN_SERVER_ONLY = {
    "code": "own-server-only",
    "kind": "account",
    "whose_move": "owner",
    "cause": "Signet sends emails of an import only through your own server, and you currently use the platform's sender.",
    "fixes": ["Set up your own server, or wait until it works again. Signet then sends them automatically."],
}
OWN_SERVER_ONLY_TEST = {
    "code": "own-server-only",
    "kind": "account",
    "whose_move": "owner",
    "cause": "Signet sends test emails to other addresses only through your own server, and you currently use the "
    "platform's sender.",
    "fixes": ["Set up your own server, then send the test email again."],
}
RECIPIENT_LIMIT = {
    "code": "recipient-limit",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is not approved yet, and this address has reached today's limit of emails "
    "from the platform's sender.",
    "fixes": ["You do not need to do anything. Signet sends this email automatically after a day."],
}
UNENCODABLE_CREDENTIALS = {
    "code": "unsayable-login",
    "kind": "credentials",
    "whose_move": "owner",
    "field": "password",
    "cause": "The username or the password contains a character that a log-in cannot transmit.",
    "fixes": ["Enter the SMTP Username and the SMTP Password again, without invisible characters."],
}
# The first fix where a server refuses the envelope sender that the settings name in place of the From address.
RETURN_ADDRESS_FIX = (
    "The server refused the Return address. Empty it under Advanced, or enter one that your provider allows."
)
