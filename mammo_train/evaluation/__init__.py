"""What a trained network is worth: figures over arrays, with patients as an argument."""
