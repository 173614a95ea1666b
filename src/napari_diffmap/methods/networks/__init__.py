"""Networks that propose orientations and phases; the matcher polishes and judges them."""
