"""Training: one step as a module, and the loops around it."""
