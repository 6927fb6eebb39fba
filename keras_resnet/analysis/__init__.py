"""Looking at networks from outside: what each is and costs."""
