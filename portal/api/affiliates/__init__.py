"""Affiliates in the API: the shop stores, reads, changes and erases them."""
