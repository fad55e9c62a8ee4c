"""What has a form in C++: the library that it is built into, and agents who move one by one."""
