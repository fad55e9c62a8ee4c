// Pair moves in place: the compiled form of `pair_moves.apply_moves`, for float and double.
//
// Values [N, columns] lie in rank order throughout. A move between states p < q leaves every other count alone, and for
// given others and d = h_p + h_q the d + 1 values of h_p = 0..d are multiplied by one matrix, the law of h_p'. The states
// after q do not matter to where these values lie relative to each other, and in rank order they run fastest: so the
// values of one h_p form runs of C(t + r - 1, r - 1) count vectors, t being the agents in the r states after q. Runs, or
// pieces of them, are gathered in panels of PANEL_BYTES a row that one small matrix product serves (sweep_panels.h).
//
// rank(h) = sum_i T_i[t_i] with tails t_i = h_{i+1} + ... + h_{S-1} and T_i[t] = C(t + S - 2 - i, S - 1 - i).
//
// Plain C interface, no allocation that outlives a call, no state: any number of threads may call at once. The result
// does not depend on how many do.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "../support/native/interface.h"

namespace {

constexpr int PANEL_BYTES = 256;
constexpr int64_t LARGE_BYTES = 1 << 20;  // tables that the caches next to a core do not hold

struct Piece {
  int64_t shift;        // of its first number in the run
  int32_t column, length;  // where it is in the panel
};

template <class T>
struct Panel {
  int size = 0;                                 // d + 1
  const T* law = nullptr;                       // [size, size]
  const int32_t* band = nullptr;                // [size, 2] first nonzero entry of a row, and one past the last
  T* values = nullptr;                          // [N, columns]
  int64_t columns = 0;
  int pieces = 0, filled = 0, row_stride = 0;
  int common_length = 0;                        // of all pieces; 0 where they differ
  Piece* piece = nullptr;
  int32_t* ranks = nullptr;                     // [pieces, row_stride] of the runs for x = 0..d
  T *in = nullptr, *out = nullptr;              // [size, PANEL_BYTES / sizeof(T)]
};

}  // namespace

#define NAMESPACE portable
#define TARGET
#define BYTES 16
#define ROWS 4
#define VECTORS 2
#include "sweep_panels.h"
#undef NAMESPACE
#undef TARGET
#undef BYTES
#undef ROWS
#undef VECTORS

#if defined(__x86_64__)
#define NAMESPACE avx2
#define TARGET __attribute__((target("avx2,fma")))
#define BYTES 32
#define ROWS 6
#define VECTORS 2
#include "sweep_panels.h"
#undef NAMESPACE
#undef TARGET
#undef BYTES
#undef ROWS
#undef VECTORS

#define NAMESPACE avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define BYTES 64
#define ROWS 6
#define VECTORS 4
#include "sweep_panels.h"
#endif

namespace {

enum Level { PORTABLE = 0, AVX2 = 1, AVX512 = 2 };

int best_level() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
    return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return PORTABLE;
}

template <class T>
using Multiply = void (*)(const Panel<T>&);

template <class T>
Multiply<T> multiply_at(int level) {
#if defined(__x86_64__)
  if (level == AVX512) return avx512::multiply<T>;
  if (level == AVX2) return avx2::multiply<T>;
#endif
  (void)level;
  return portable::multiply<T>;
}

// Numbers too small for their type are taken for zero while this lives: arithmetic on them is a hundred times slower.
struct FlushTiny {
#if defined(__x86_64__)
  unsigned before = _mm_getcsr();
  FlushTiny() { _mm_setcsr(before | 0x8040); }
  ~FlushTiny() { _mm_setcsr(before); }
#endif
};

int64_t law_offset(int64_t d) { return d * (d + 1) * (2 * d + 1) / 6; }
int64_t band_offset(int64_t d) { return d * (d + 1); }

// Memory for panels and rows that starts on a cache line.
template <class T>
T* aligned(std::vector<T>& store, int64_t size) {
  store.resize(size + 64 / sizeof(T));
  return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(store.data()) + 63) / 64 * 64);
}

// One move: walks over every line of values that it mixes, and hands them on in panels.
template <class T>
struct Move {
  static constexpr int WIDTH = PANEL_BYTES / sizeof(T);
  int k, states, p = 0, q = 0;
  int sliced = -1, slice = 0;  // the state whose agents are fixed, or -1, and how many they are
  const int32_t* binomials;  // [states - 1, k + 1] T_i[t]
  Multiply<T> multiply;
  Panel<T> panel;
  std::vector<Piece> pieces;
  std::vector<int32_t> piece_ranks, ranks;  // ranks: [states + 1, k + 1], partial ones of x = 0..d by position
  std::vector<T> in, out;

  Move(int k, int states, const int32_t* binomials, T* values, int64_t columns, Multiply<T> multiply)
      : k(k), states(states), binomials(binomials), multiply(multiply), pieces(WIDTH),
        piece_ranks(static_cast<int64_t>(WIDTH) * (k + 1)), ranks(static_cast<int64_t>(states + 1) * (k + 1)) {
    panel.values = values;
    panel.columns = columns;
    panel.row_stride = k + 1;
    panel.piece = pieces.data();
    panel.ranks = piece_ranks.data();
    panel.in = aligned(in, static_cast<int64_t>(WIDTH) * (k + 1));
    panel.out = aligned(out, static_cast<int64_t>(WIDTH) * (k + 1));
  }

  // Large tables are taken in slices, in which one other state holds a fixed number of agents: a slice fits the cache.
  void run(int first, int second, const T* laws, const int32_t* bands) {
    p = first;
    q = second;
    const bool large = run_length(-1, k) * panel.columns * sizeof(T) > LARGE_BYTES;
    sliced = !large || states < 5 || q == 1 ? -1 : p > 0 ? 0 : 1;
    for (slice = 0; slice <= (sliced < 0 ? 0 : k - 1); ++slice)
      for (int d = 1; d <= k - slice; ++d) {
        if (states == 2 && d < k) continue;
        panel.size = d + 1;
        panel.law = laws + law_offset(d);
        panel.band = bands + band_offset(d);
        std::fill_n(ranks.begin(), d + 1, 0);
        place(0, k - d);
        flush();
      }
  }

  // Positions before `position` hold their agents; `left` more agents, beside the d of the pair, are to be placed.
  void place(int position, int left) {
    const int32_t* before = ranks.data() + static_cast<int64_t>(position) * (k + 1);
    int32_t* after = ranks.data() + static_cast<int64_t>(position + 1) * (k + 1);
    const int d = panel.size - 1;
    if (position > q) return emit(before, left);
    const int32_t* term = position < states - 1 ? binomials + static_cast<int64_t>(position) * (k + 1) : nullptr;
    if (position == q) {
      const int32_t rank = term ? term[left] : 0;
      for (int x = 0; x <= d; ++x) after[x] = before[x] + rank;
      return place(position + 1, left);
    }
    if (position == p) {
      for (int x = 0; x <= d; ++x) after[x] = before[x] + term[left + d - x];
      return place(position + 1, left);
    }
    const bool last = q == states - 1 && (position == q - 1 || (position == q - 2 && p == q - 1));
    const int fewest = position == sliced ? left - slice : 0, most = last ? 0 : position == sliced ? fewest : left;
    for (int rest = fewest; rest <= most; ++rest) {
      if (position < p)
        for (int x = 0; x <= d; ++x) after[x] = before[x] + term[rest + d];
      else
        for (int x = 0; x <= d; ++x) after[x] = before[x] + term[rest + d - x];
      place(position + 1, rest);
    }
  }

  // How many count vectors hold t agents in the r states behind one: C(t + r - 1, r - 1), and one where there are none.
  int64_t run_length(int behind, int t) const {
    int64_t number = 1;
    for (int i = 1; i < states - 1 - behind; ++i) number = number * (t + i) / i;
    return number;
  }

  void emit(const int32_t* ranks_of_x, int left) {
    const int64_t total = run_length(q, left) * panel.columns;
    for (int64_t shift = 0; shift < total;) {
      const int64_t wanted = total - shift;
      if (panel.filled == WIDTH || (panel.filled && wanted > WIDTH - panel.filled && wanted <= WIDTH)) flush();
      const int length = static_cast<int>(std::min<int64_t>(wanted, WIDTH - panel.filled));
      std::copy_n(ranks_of_x, panel.size, panel.ranks + static_cast<int64_t>(panel.pieces) * panel.row_stride);
      panel.piece[panel.pieces] = {shift, panel.filled, length};
      panel.common_length = panel.pieces == 0 || panel.common_length == length ? length : 0;
      ++panel.pieces;
      panel.filled += length;
      shift += length;
    }
  }

  void flush() {
    if (panel.pieces) multiply(panel);
    panel.pieces = panel.filled = panel.common_length = 0;
  }
};

template <class T>
void apply(int k, int states, const int32_t* binomials, int moves, const int32_t* pairs, const T* laws,
           const int32_t* bands, T* values, int64_t columns, int level) {
  FlushTiny flush;
  Move<T> move(k, states, binomials, values, columns, multiply_at<T>(level));
  for (int m = 0; m < moves; ++m)
    move.run(pairs[2 * m], pairs[2 * m + 1], laws + m * law_offset(k + 1), bands + m * band_offset(k + 1));
}

// The laws of h_p' for d = 0..k agents in the pair, one after the other. Entry (x, y) is the chance that Binomial(x, 1-a)
// + Binomial(d - x, b) is y; in float32 what is far below the rounding is zero. (In float64
// all entries stay, so that no entry of a law comes out below 0 where the factors have chances outside [0, 1].)
template <class T>
void make_laws(int k, double a, double b, int adjoint, T* laws, int32_t* bands) {
  std::vector<double> last(static_cast<size_t>(k + 1) * (k + 1)), law(last.size());
  const double tiny = sizeof(T) < sizeof(double) ? 1e-3 * std::numeric_limits<T>::epsilon() / (k + 1) : 0.0;
  law[0] = 1.0;
  for (int d = 0; d <= k; ++d) {
    const int size = d + 1;
    if (d) {
      std::swap(last, law);
      std::fill_n(law.begin(), static_cast<size_t>(size) * size, 0.0);
      for (int y = 0; y < d; ++y) law[y] += (1 - b) * last[y], law[y + 1] += b * last[y];
      for (int x = 1; x < size; ++x)
        for (int y = 0; y < d; ++y) {
          const double one_less = last[static_cast<size_t>(x - 1) * d + y];
          law[static_cast<size_t>(x) * size + y] += a * one_less;
          law[static_cast<size_t>(x) * size + y + 1] += (1 - a) * one_less;
        }
    }
    T* target = laws + law_offset(d);
    int32_t* band = bands + band_offset(d);
    for (int x = 0; x < size; ++x) {
      int begin = size, end = 0;
      for (int y = 0; y < size; ++y) {
        const double chance = adjoint ? law[static_cast<size_t>(y) * size + x] : law[static_cast<size_t>(x) * size + y];
        const bool kept = chance > tiny || chance < -tiny;
        target[static_cast<size_t>(x) * size + y] = kept ? static_cast<T>(chance) : T(0);
        if (kept) begin = std::min(begin, y), end = y + 1;
      }
      band[2 * x] = std::min(begin, end);
      band[2 * x + 1] = end;
    }
  }
}

}  // namespace

EXPORT int compiled_interface() { return INTERFACE; }
EXPORT int sweep_level() { return best_level(); }

EXPORT void sweep_laws_f32(int k, double a, double b, int adjoint, float* laws, int32_t* bands) {
  make_laws<float>(k, a, b, adjoint, laws, bands);
}
EXPORT void sweep_laws_f64(int k, double a, double b, int adjoint, double* laws, int32_t* bands) {
  make_laws<double>(k, a, b, adjoint, laws, bands);
}
EXPORT void sweep_apply_f32(int k, int states, const int32_t* binomials, int moves, const int32_t* pairs,
                            const float* laws, const int32_t* bands, float* values, int64_t columns, int level) {
  apply<float>(k, states, binomials, moves, pairs, laws, bands, values, columns, std::min(level, best_level()));
}
EXPORT void sweep_apply_f64(int k, int states, const int32_t* binomials, int moves, const int32_t* pairs,
                            const double* laws, const int32_t* bands, double* values, int64_t columns, int level) {
  apply<double>(k, states, binomials, moves, pairs, laws, bands, values, columns, std::min(level, best_level()));
}
