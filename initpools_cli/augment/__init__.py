"""Augmentations of image batches, with randomness that depends on the image, not on the batch.

Every function processes images independently and sums in an order that does not depend on the batch size, so that an
image's view has the same bytes in any batch.
"""
