"""The outbox in the database: the due query, claims, leases, attempts, settlement and crash recovery."""
