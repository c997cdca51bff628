"""How the images of an epoch are cut into batches."""


def batch_start(batch: int, num_images: int, num_batches: int) -> int:
    """Where a batch begins among the images of an epoch.

    Batches differ by one image at most, and the first is no smaller than the others. A small batch at the end would
    make an update, and batch-norm statistics, of very few images.

    >>> [batch_start(batch, 65, 2) for batch in range(3)]
    [0, 33, 65]
    """
    return -(-batch * num_images // num_batches)


def batch_bounds(num_images: int, num_batches: int) -> list[int]:
    """Where each batch of an epoch begins, and where the last one ends."""
    return [batch_start(batch, num_images, num_batches) for batch in range(num_batches + 1)]
