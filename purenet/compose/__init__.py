"""Combinators: layers made of layers, each with the backward rule of the composition itself."""
