"""Checks of a whole installation: what every start requires, and what ``flask doctor`` reports beyond that."""
