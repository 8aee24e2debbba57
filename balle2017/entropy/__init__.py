"""Coding tables, and range coding with them inside of graphs."""
