"""How each model architecture is cut into stages."""
