"""SPF (RFC 7208): parsing records, evaluating them, and advice on what to publish."""
