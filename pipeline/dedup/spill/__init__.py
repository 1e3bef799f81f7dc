"""What the steps of dedup meet in: the kinds of rows, sorted runs of them on disk, and the plan that says where."""
