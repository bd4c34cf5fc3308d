"""Tests of the checks of texts."""
