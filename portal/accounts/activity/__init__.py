"""The page *Activity*: what the audit trail has about one account."""
