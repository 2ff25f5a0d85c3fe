"""Insight: what a network computes, number by number, and what is wrong with it."""
