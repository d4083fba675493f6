"""The control program, `ravenctl`."""
