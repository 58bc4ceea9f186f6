"""What is learned from: one file an objective, over the encoder's public steps."""
