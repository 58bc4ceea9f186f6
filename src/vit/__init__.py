"""Vision Transformers, and which pre-training pays on your images: none, supervised or self-supervised."""
