"""What a pair is worth: Algorithm 4 on n agents, exact values for small n, gaps and the certificate."""
