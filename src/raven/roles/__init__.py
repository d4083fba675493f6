"""What a process does, from mechanisms and ports: which database or exchange that is, it is handed."""
