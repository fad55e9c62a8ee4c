// What every compiled source shares: how a function is seen from outside, and the version of the whole interface.

#pragma once

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

constexpr int INTERFACE = 3;  // checked by library.py: raise it with every change of a signature
