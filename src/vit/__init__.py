"""Vision Transformers, and which pre-training pays on your images, if any."""
