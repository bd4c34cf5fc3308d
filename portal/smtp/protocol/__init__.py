"""The SMTP conversation: connection, handshake, session, mail transaction, replies, TLS, AUTH, transcript."""
