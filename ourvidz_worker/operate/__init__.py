"""What an operator sees and does: the facts of the pods and the queues, as a page and for a terminal."""
