"""The networks: images in, logits out."""
