"""VTAB-1k (arXiv:1910.04867): its tasks, their raw data, and the module that reads them."""
