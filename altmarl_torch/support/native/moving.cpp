// Agents moved one by one: the compiled form of `mover.CountMover`, which it equals to the bit.
//
// Every agent has a number c of [0, 1). He goes to the first next state of his law whose running sum exceeds c. Row i of
// the running sums is shifted by i, and so is c: torch's form searches all rows as one list, and rounds what it adds.
//
// Plain C interface, no state: any number of threads may call at once.

#include <algorithm>
#include <cstdint>

#include "interface.h"

namespace {

constexpr int NARROW = 16;  // so many sums are all compared, without a branch

inline int64_t found(const double* sums, int width, double number) {
  if (width > NARROW) return std::upper_bound(sums, sums + width - 1, number) - sums;
  int64_t place = 0;
  for (int j = 0; j < width - 1; ++j) place += sums[j] <= number;
  return place;
}

// counts and arrived [systems, states]; laws [systems]; sums and next [laws * states, width]; numbers: one for each agent
template <class T>
void move(int64_t systems, int states, int width, const int64_t* laws, const T* counts, const double* sums,
          const int64_t* next, const double* numbers, T* arrived) {
  for (int64_t system = 0; system < systems; ++system, counts += states, arrived += states)
    for (int state = 0; state < states; ++state) {
      const int64_t row = laws[system] * states + state;
      const double* const own = sums + row * width;
      const int64_t* const onward = next + row * width;
      for (int64_t agents = static_cast<int64_t>(counts[state]); agents > 0; --agents)
        arrived[onward[found(own, width, *numbers++ + static_cast<double>(row))]] += 1;
    }
}

}  // namespace

EXPORT void move_agents_f32(int64_t systems, int states, int width, const int64_t* laws, const float* counts,
                            const double* sums, const int64_t* next, const double* numbers, float* arrived) {
  move<float>(systems, states, width, laws, counts, sums, next, numbers, arrived);
}
EXPORT void move_agents_f64(int64_t systems, int states, int width, const int64_t* laws, const double* counts,
                            const double* sums, const int64_t* next, const double* numbers, double* arrived) {
  move<double>(systems, states, width, laws, counts, sums, next, numbers, arrived);
}
