"""The screen model: genes by lines, with everything of a gene integrated out."""
