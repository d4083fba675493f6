"""A market made up from a seed: orders meet in a book, and everything on the wire is read off that book."""
