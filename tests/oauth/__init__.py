"""Tests of log-ins without a password."""
