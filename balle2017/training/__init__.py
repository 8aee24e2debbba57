"""How a rate point comes to be: photographs, starting point, optimizer, loop."""
