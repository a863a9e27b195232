"""From image names to batches: paths, decoding, reading in chunks, the packed store, augmentation on the device."""
