"""``backlight tokens``: at which token and layer the gradient of an answer sits."""
