"""The commands, by what they do: compute something, judge claims, search for what breaks them."""
