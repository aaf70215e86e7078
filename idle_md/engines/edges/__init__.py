"""From particles to edges and back, in every way that there is."""
