"""The programs: command line, the table of services, the wiring (`compose`), start and stop, and the live view."""
