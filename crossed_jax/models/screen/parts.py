"""Which parts a screen model has."""

from typing import Any, NamedTuple


class Parts(NamedTuple):
    """The factor that is integrated out, and the parts beside the additive model's.

    Attributes
    ----------
    genes
        Position of that factor, the one with more levels; the other is the lines.
    slopes
        Whether lines differ in how strongly they show the genes' effects.
    line_noise, gene_noise
        Whether lines and genes differ in the SD of their noise.
    interaction
        Whether replicates of a cell share a part of what is not additive.
    nested
        What units within genes are called, such as guides, that have effects of their own; None if
        there are none.
    nested_interaction, gene_share, guide_noise
        With guides: whether rows of a guide in a line share a part of their own, whether genes
        differ in how much of their variance is interaction, and guides in the SD of their noise.
    sample
        What the replicates of lines are called, such as samples, that have effects of their own;
        None if there are none.
    """

    genes: int = 0
    slopes: bool = True
    line_noise: bool = True
    gene_noise: bool = True
    interaction: bool = True
    nested: str | None = None
    nested_interaction: bool = False
    gene_share: bool = False
    guide_noise: bool = False
    sample: str | None = None

    @property
    def has_units(self) -> bool:
        """Whether anything is nested in the factors."""
        return self.nested is not None or self.sample is not None

    def by_factor(self, of_genes: Any, of_lines: Any) -> tuple[Any, Any]:
        """Put what belongs to genes and to lines in the order of the factors."""
        return (of_genes, of_lines) if self.genes == 0 else (of_lines, of_genes)
