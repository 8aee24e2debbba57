"""The paper: transforms, prior and objective, in TensorFlow. Imports no other room."""
