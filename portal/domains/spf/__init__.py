"""SPF (RFC 7208): parse and evaluate records, and recommend what to publish."""
