"""Measurements of the trainer against plain PyTorch; each is a script that prints what it found."""
