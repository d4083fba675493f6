"""Protocols that clients speak, one file each. A file never imports its neighbours."""
