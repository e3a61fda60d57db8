"""From per-seed contrasts to estimates and verdicts: numbers, no words."""
