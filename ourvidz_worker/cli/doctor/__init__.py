"""`doctor`: everything that an operator meets on a new pod, each finding with its cure."""
