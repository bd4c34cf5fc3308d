"""Proof of person: *Is it you?* is asked before what a stolen session must not do."""
