"""What several objectives share: masks, mixing, crops, losses over labels, teachers, heads."""
