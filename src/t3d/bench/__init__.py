"""What the package takes in time and memory, side by side with other ways; what it computes is tested elsewhere."""
