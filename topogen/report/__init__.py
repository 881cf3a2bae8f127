"""What is written for people to look at: the folder of a run and its pictures."""
