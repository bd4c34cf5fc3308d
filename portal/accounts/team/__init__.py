"""The people of an account: roles and rights, memberships, invitations, and the page *Team*."""
