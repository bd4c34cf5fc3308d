"""A local SMTP server with scripted faults and an inbox page, for trying everything without a provider."""
