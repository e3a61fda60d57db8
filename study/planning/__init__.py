"""Says what a study would cost, and what it could detect."""
