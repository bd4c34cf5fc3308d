"""Connection tests that send no message: dry run up to RCPT, port detection, autoconfiguration, verified fixes."""
