"""Reading, checking, augmenting and batching images with labels."""
