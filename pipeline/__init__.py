"""Penstock: raw Wikipedia, books and CC-News in at one end; a pretrained and fine-tuned decoder out at the other."""

__version__ = "0.1.0"
