"""How each provider reports what became of messages: its webhook's format, its proof, and what the owner sets up there."""
