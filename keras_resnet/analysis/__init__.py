"""Looking at networks, from outside and from inside: what each is and costs, and what goes on in it."""
