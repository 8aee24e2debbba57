"""The `.tfci` file, in Python and in the ops of a graph."""
