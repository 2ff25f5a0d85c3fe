"""Drawings with Matplotlib, which is imported when the first one is made: `pip install "purenet[plot]"`.

Networks: `network` draws the layers and what goes from one to the other.
"""

from purenet.plot.networks import network

__all__ = ["network"]
