"""What a user of a peer would write for the task of `whole_process`, each a program of its own."""
