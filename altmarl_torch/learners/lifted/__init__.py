"""G-LEARN and L-LEARN on lifted functions: polynomials of the frequencies, which the expectation does not leave."""
