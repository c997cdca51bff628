"""Label formats: one reader each, the same rules for all."""
