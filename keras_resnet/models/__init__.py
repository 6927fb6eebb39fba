"""What a residual network is: rows of choices, and pure functions that read them."""
