// Binomial numbers, and the counts of a sample: the compiled form of `binomials.py` and of `envs/process.py`.
//
// Random numbers are drawn by NumPy and come in; what comes out is what NumPy's own operations give, to the bit: the
// same operations in the same order, of which no two become one. Plain C interface, no state: any number of threads may
// call at once.

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "interface.h"

namespace {

constexpr int BLOCK = 256;  // systems at a time, whose columns the nearest cache holds
constexpr double SIGN[2] = {1.0, -1.0};
constexpr int CELL_BITS = 48;  // of a double behind those that number its cell in the table of quantiles
constexpr int64_t FIRST_CELL = 1022 * 16;
constexpr double FINEST_CELL = 1.0 / (int64_t{1} << CELL_BITS);
constexpr double FINEST = 4503599627370496.0;  // 2^52, from which on every double is whole

// x >= 0 to the nearest whole number, ties to even, as rint does, in operations that every processor has for vectors.
inline double rounded(double x) { return x < FINEST ? (x + FINEST) - FINEST : x; }

// The normal number that a word stands for: `normals` of binomials.py.
inline double normal(uint32_t word, const double* cubics) {
  const double y = (word >> 1) + 0.5;
  int64_t bits;
  std::memcpy(&bits, &y, sizeof y);
  const double* cubic = cubics + 4 * ((bits >> CELL_BITS) - FIRST_CELL);
  const double f = static_cast<double>(bits & ((int64_t{1} << CELL_BITS) - 1)) * FINEST_CELL;
  const double lower = cubic[0] + f * (cubic[1] + f * (cubic[2] + f * cubic[3]));
  return lower * SIGN[word & 1];  // a branch would be guessed wrongly every second time
}

}  // namespace

// Binomial(number, chance) by the expansion on the page of binomials.py, from one word of luck each. The first entries of
// `narrow [size]` list those whose variance is below `wide`, where the expansion is of no use; their number is returned.
EXPORT int draw_binomials(int size, double wide, const double* number, const double* chance, const uint32_t* words,
                          const double* cubics, double* drawn, int64_t* narrow) {
  double z[BLOCK], variance[BLOCK];
  int found = 0;
  for (int first = 0; first < size; first += BLOCK, number += BLOCK, chance += BLOCK, words += BLOCK, drawn += BLOCK) {
    const int width = std::min(BLOCK, size - first);
    for (int i = 0; i < width; ++i) z[i] = normal(words[i], cubics);
    for (int i = 0; i < width; ++i) {
      const double p = chance[i], pq = p * (1 - p), square = z[i] * z[i];
      variance[i] = number[i] * pq;
      const double s = std::sqrt(std::max(variance[i], wide) - 1.0 / 12);
      const double third = (pq * 14 + 1 - (pq * 2 + 1) * square) * z[i] / s * (1.0 / 72);
      drawn[i] = rounded(s * z[i] + third + (square - 1) * ((0.5 - p) / 3) + number[i] * p);
    }
    for (int i = 0; i < width; ++i)
      if (variance[i] < wide) narrow[found++] = first + i;
  }
  return found;
}

// Counts h of k labels in [0, 1), of n agents who are numbered in the order of their states, and the systems in which
// `chance` exceeds 1 - sum_z h_z (h_z - 1) / (2 c_z): these are listed in `open`, and their number is returned. There
// are B systems: counts [states, B], labels [k, B], chance [B], h [B, states].
EXPORT int draw_samples(int systems, int states, int k, double n, const double* counts, const double* labels,
                        const double* chance, int64_t* h, int64_t* open) {
  std::vector<double> room(4 * BLOCK);
  double *end = room.data(), *below = end + BLOCK, *before = below + BLOCK, *bound = before + BLOCK;
  int found = 0;
  for (int first = 0; first < systems; first += BLOCK) {
    const int width = std::min(BLOCK, systems - first);
    std::fill(room.begin(), room.end(), 0.0);
    for (int z = 0; z < states; ++z) {
      const bool last = z == states - 1;
      const double* here = counts + int64_t{z} * systems + first;
      for (int b = 0; b < width; ++b) end[b] += here[b], below[b] = last ? static_cast<double>(k) : 0.0;
      for (int j = 0; j < k && !last; ++j) {
        const double* label = labels + int64_t{j} * systems + first;
        for (int b = 0; b < width; ++b) below[b] += label[b] * n < end[b] ? 1.0 : 0.0;
      }
      for (int b = 0; b < width; ++b) {
        const double own = below[b] - before[b];
        bound[b] += own * (own - 1) / std::max(here[b], 1.0);
        before[b] = below[b];
        h[int64_t{first + b} * states + z] = static_cast<int64_t>(own);
      }
    }
    for (int b = 0; b < width; ++b)
      if (chance[first + b] > 1 - bound[b] / 2) open[found++] = first + b;
  }
  return found;
}
