"""Layers, a family a file; in each, the forward pass and the backward pass derived by hand stand side by side."""
