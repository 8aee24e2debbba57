"""A rate point as two SavedModels: what is in them, written and read."""
