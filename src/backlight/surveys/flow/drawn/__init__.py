"""What both the figures and the page of a run draw: from its tables to places and outlines."""
