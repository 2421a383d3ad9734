"""``backlight sae``: which features of a sparse dictionary move the loss, over a corpus."""
