"""`plan`: how many pods of which card a load needs, and what a job costs."""
