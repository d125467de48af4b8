"""What makes a number certain: balls, intervals, and sampling at a stated level."""
