// Agents moved one by one: the compiled form of `mover.CountMover`, which it equals to the bit.
//
// Every agent has a number c of [0, 1). He goes to the first next state of his law whose running sum exceeds c. Row i of
// the running sums is shifted by i, and so is c: torch's form searches all rows as one list, and rounds what it adds.
//
// Plain C interface, no state: any number of threads may call at once.

#include <cstdint>

#include "interface.h"

namespace {

constexpr int NARROW = 8;  // so many sums are all compared; of more, a few, each time those of one half

// How many of width - 1 running sums are at most the number. Neither way branches on luck, which no processor foresees.
inline int64_t found(const double* sums, int width, double number) {
  int64_t place = 0;
  int left = width - 1;
  for (; left > NARROW; left -= left / 2) place += sums[place + left / 2 - 1] <= number ? left / 2 : 0;
  for (const double* const rest = sums + place; left > 0; --left) place += rest[left - 1] <= number;
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
