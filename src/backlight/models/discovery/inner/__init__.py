"""What is inside of attention and of experts: heads, routers, and the parts of a sum of experts."""
