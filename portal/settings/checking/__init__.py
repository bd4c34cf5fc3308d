"""Around the check of a version: when one is requested or ended, what the page shows of it, and refused servers."""
