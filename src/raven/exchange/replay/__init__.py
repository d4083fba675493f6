"""A market that was recorded: its frames byte for byte, in their order."""
