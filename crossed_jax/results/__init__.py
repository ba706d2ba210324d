"""What comes out: the tree, predictions, convergence, the verdict, tables, figures and files."""
