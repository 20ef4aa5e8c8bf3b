"""One module an engine: `check(folder)` opens its unpacked wheel and returns a function that raises for a refused command."""
