"""Checks every page in a real browser: accessibility, width, and Lighthouse's scores. ``make pages`` prints the report."""
