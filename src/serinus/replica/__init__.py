"""What runs in the MODEL's environment: stdlib, numpy, msgspec and the model's own packages."""
