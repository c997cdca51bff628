"""Model definitions and the modules they are built from."""
