"""Documents meet: copies, candidates from shared bands, edges, connected components, and the survivor of each."""
