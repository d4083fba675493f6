"""Keeping on: pauses between attempts, budgets, bans."""
