"""The command `topogen`: `main` runs it, `arguments` parses, `verbs` does what is asked, `user_function` loads a function from a file."""
