"""Sending queued messages: the dispatcher, the drain of one account's queue, message building and submission."""
