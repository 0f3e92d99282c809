"""One line in a training that a framework runs: a module for each framework, which imports it; nothing else does."""
