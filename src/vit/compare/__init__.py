"""Studies: arms, seeds and protocols under one budget, from ordinary runs."""
