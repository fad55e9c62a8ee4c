"""The commands of `altmarl`."""
