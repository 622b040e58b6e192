"""Batches of images changed by tensor functions whose randomness is keyed by image, never by batch.

Every function here treats each image on its own and sums in an order that does not depend on how many images are beside
it, so that an image's view is the same bytes in any batch.
"""
