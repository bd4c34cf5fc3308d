"""Connection tests without sending: stage results, port detection, settings autodiscovery, verified fixes."""
