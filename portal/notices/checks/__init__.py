"""Checks of an owner's text before it is saved, and repairs of what editors and other products leave in it."""
