"""What has a form in C++: the library that it is built into, agents who move one by one, and binomial numbers."""
