"""The corpus of consoles: how it is made on real guests, and how it is read."""
