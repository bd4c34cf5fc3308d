"""The second factor of a log-in: authenticator apps, recovery codes, and the log-ins that wait for one."""
