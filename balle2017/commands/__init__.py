"""What the commands do: the modules at the top of the package parse, call this and print."""
