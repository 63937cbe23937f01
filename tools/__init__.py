"""Commands that write files: pages, a picture, and rendered services."""
