"""Change of the mailbox that a person logs in with."""
