"""Best responses of both players in a simulator, fitted by networks on samples of n-agent play."""
