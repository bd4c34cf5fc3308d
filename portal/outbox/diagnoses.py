"""Diagnoses of failures that no mail server reported: faults of the portal, of the message or of the sealing key."""

from __future__ import annotations

INTERNAL_ERROR = {
    "code": "portal-fault",
    "kind": "server_fault",
    "whose_move": "operator",
    "cause": "Something in the portal itself went wrong while this email was being sent.",
    "fixes": ["The operator of this portal finds the details in the worker's log."],
}
UNSENDABLE = {
    "code": "message-not-sendable",
    "kind": "content",
    "whose_move": "operator",
    "cause": "This email could not be composed: it contains characters that are not allowed in email.",
    "fixes": ["Sign the affiliate up again without unusual characters in the name."],
}
POSSIBLY_DELIVERED = {
    "code": "in-doubt",
    "kind": "server_fault",
    "whose_move": "provider",
    "cause": "Another server may have accepted this email already, because its answer was not read. Through a second one it "
    "could arrive twice, so it waits until the first works again.",
    "fixes": ["Nothing to do: it is tried again by itself."],
}
KEY_MISSING = {
    "code": "mail-not-openable",
    "kind": "server_fault",
    "whose_move": "operator",
    "cause": "The portal's own emails are sealed, and this worker has no key that opens them.",
    "fixes": ["Put the key they were sealed with back into the keyring and restart the worker."],
}
ACCOUNT_STOPPED = {
    "code": "account-stopped",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is suspended or not approved yet, so it sends nothing, not even a test.",
    "fixes": ["Ask the operator of this portal; then save the settings again."],
}
UNCONFIRMED_RECIPIENT = {
    "code": "recipient-not-confirmed",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is not approved yet, so the platform's sender writes only to its owners and to affiliates "
    "who confirmed their address.",
    "fixes": [
        "Use your own SMTP server, or ask the operator of this portal to approve the account, and send it again."
    ],
}
OWN_TEXT = {
    "code": "own-text-not-approved",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is not approved yet, so the platform's sender carries the default texts only, and this email "
    "has a text or a look of its own.",
    "fixes": [
        "Use your own SMTP server, or ask the operator of this portal to approve the account, and send it again."
    ],
}
OWN_SERVER_ONLY = {
    "code": "own-server-only",
    "kind": "account",
    "whose_move": "owner",
    "cause": "Emails of an import leave through your own server only, and the platform's sender is used at present.",
    "fixes": ["Nothing to do once your own server sends again: they leave by themselves."],
}
RECIPIENT_LIMIT = {
    "code": "recipient-limit",
    "kind": "account",
    "whose_move": "operator",
    "cause": "This account is not approved yet, and this address got as many emails today as the platform's sender "
    "carries to one address.",
    "fixes": ["Nothing to do: it leaves by itself when a day has passed."],
}
UNENCODABLE_CREDENTIALS = {
    "code": "unsayable-login",
    "kind": "credentials",
    "whose_move": "owner",
    "field": "password",
    "cause": "The username or the password contains a character that cannot be sent in a log-in.",
    "fixes": ["Enter the SMTP Username and the SMTP Password again, without invisible characters."],
}
