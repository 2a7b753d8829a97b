"""Images from anywhere, as one array that fits the black box: a source -> `ImageSet`."""
