"""`python -m purenet.bench`: what training costs on this machine, beside the same thing written by hand."""
